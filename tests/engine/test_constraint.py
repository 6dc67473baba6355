"""A constrained text has only tokens that its constraint allows, whatever else runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt import BitNetModel
from bitnet_tt.backends.masks import mask_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE, Engine
from bitnet_tt.engine.request import Request
from bitnet_tt.errors import RequestError
from tests.engine.fake_backend import VOCAB_SIZE
from tests.engine.small_engine import check_idle, expected, make_engine, tokens_of


class Steps:
    """Allows the tokens of one set after the other, in a circle."""

    def __init__(self, *steps: set[int], vocab_size: int = VOCAB_SIZE) -> None:
        self.steps, self.vocab_size = steps, vocab_size
        self.accepted: list[int] = []

    @property
    def allowed(self) -> set[int]:
        return self.steps[len(self.accepted) % len(self.steps)]

    def mask(self) -> np.ndarray:
        return mask_of(np.array(sorted(self.allowed), np.int64), self.vocab_size)

    def accept(self, token_id: int) -> None:
        assert token_id in self.allowed
        self.accepted.append(token_id)


def constrained(engine: Engine, constraint: Steps, prompt: list[int], **options: object) -> Request:
    config = GenerationConfig(**{"max_new_tokens": 12, "seed": 3} | options)
    return engine.request(prompt, config, constraint=constraint)


def text_of(engine: Engine, request: Request) -> list[int]:
    return tokens_of(engine.outputs(request))


@settings(max_examples=50)
@given(
    st.lists(st.sets(st.integers(0, VOCAB_SIZE - 1), min_size=1), min_size=1, max_size=5),
    st.sampled_from([{}, {"temperature": 1.0}, {"temperature": 0.5, "top_p": 0.8, "presence_penalty": 1.0}]),
)
def test_every_token_is_allowed_and_told_to_the_constraint(steps: list[set[int]], options: dict[str, object]) -> None:
    engine, constraint = make_engine(), Steps(*steps)
    tokens = text_of(engine, constrained(engine, constraint, [5], **options))
    assert len(tokens) == 12
    assert tokens == constraint.accepted


def test_preemption_and_neighbours_change_nothing() -> None:
    def texts(count: int, **options: int) -> list[list[int]]:
        engine = make_engine(**options)
        requests = [
            constrained(engine, Steps({1, 2, 3}, {4}, set(range(90))), [i] * (BLOCK_SIZE + 5), max_new_tokens=90)
            for i in range(count)
        ]
        for request in requests:
            engine.submit(request)
        return [text_of(engine, request) for request in requests]

    assert texts(4, num_blocks=8) == texts(4)
    assert texts(1) == texts(4)[:1]


def test_a_forced_token_takes_no_lm_head() -> None:
    engine = make_engine()
    free = engine.request([6], GenerationConfig(max_new_tokens=3))
    forced = constrained(engine, Steps({7}, {8}, {9, 10}), [5], max_new_tokens=3)
    for request in (free, forced):
        engine.submit(request)
    assert text_of(engine, forced)[:2] == [7, 8]
    assert text_of(engine, free) == expected([6], 3)
    assert [len(batch.logit_rows) for batch in engine.backend.batches] == [1, 1, 2]


def test_log_probabilities_are_those_of_the_model_without_the_constraint() -> None:
    engine = make_engine()
    best = expected([5], 1)[0]
    other = (best + 1) % VOCAB_SIZE
    (logprob,) = next(engine.outputs(constrained(engine, Steps({other}), [5], logprobs=1))).logprobs
    assert logprob.token_id == other
    assert logprob.top[0][0] == best
    assert logprob.logprob < logprob.top[0][1]


def test_a_constraint_that_allows_nothing_is_an_error() -> None:
    engine = make_engine()
    request = constrained(engine, Steps(set()), [5])
    with pytest.raises(RequestError, match="allows no token"):
        text_of(engine, request)
    check_idle(engine)


def test_a_real_model_picks_the_best_allowed_token() -> None:
    """Few allowed tokens, many, and one, beside a request without a constraint."""
    with BitNetModel.from_pretrained("demo") as model:
        vocab, prompt = model.config.vocab_size, model.tokenizer.encode("Once upon a time")
        rng = np.random.default_rng(0)
        sets = [set(np.flatnonzero(rng.random(vocab) < share).tolist()) | {9} for share in (0.02, 0.5, 0.0)]
        config = GenerationConfig(max_new_tokens=9)
        free = model.engine.request(prompt, config)
        request = model.engine.request(prompt, config, constraint=Steps(*sets, vocab_size=vocab))
        for one in (free, request):
            model.engine.submit(one)
        tokens = text_of(model.engine, request)
        assert model.tokenizer.decode(text_of(model.engine, free)) == model.generate(prompt, config)
        rows = model.logits([*prompt, *tokens])[len(prompt) - 1 : -1]
        best = [max(sorted(sets[step % 3]), key=lambda token: row[token]) for step, row in enumerate(rows)]
        assert tokens == best
