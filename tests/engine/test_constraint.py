"""A constrained text has only tokens that its constraint allows, whatever else runs."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt import BitNetModel
from bitnet_tt.backends.masks import mask_of
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE, Engine
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.step import MAX_FORCED
from bitnet_tt.errors import RequestError
from tests.engine.fake_backend import VOCAB_SIZE, GatedBackend
from tests.engine.small_engine import check_idle, expected, make_engine, results, tokens_of


class Steps:
    """Allows the tokens of one set after the other, in a circle.

    With `forces`, it says so if a set has only one token. `asked` are the threads that asked for masks.
    """

    def __init__(self, *steps: set[int], vocab_size: int = VOCAB_SIZE, forces: bool = False) -> None:
        self.steps, self.vocab_size, self.forces = steps, vocab_size, forces
        self.accepted: list[int] = []
        self.asked: list[str] = []

    @property
    def allowed(self) -> set[int]:
        return self.steps[len(self.accepted) % len(self.steps)]

    def mask(self) -> np.ndarray:
        self.asked.append(threading.current_thread().name)
        return mask_of(np.array(sorted(self.allowed), np.int64), self.vocab_size)

    def forced(self) -> int | None:
        return min(self.allowed) if self.forces and len(self.allowed) == 1 else None

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


steps = st.one_of(
    st.sets(st.integers(0, VOCAB_SIZE - 1), min_size=1), st.sets(st.integers(0, 20), min_size=1, max_size=1)
)
requests = st.tuples(
    st.lists(steps, min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=40),
    st.fixed_dictionaries(
        {
            "max_new_tokens": st.integers(1, 100),
            "temperature": st.sampled_from([0.0, 1.0]),
            "frequency_penalty": st.sampled_from([0.0, 1.5]),
            "stop": st.sampled_from([[], ["ab"], ["hi", "j"]]),
            "stop_token_ids": st.sampled_from([[], [7, 8]]),
            "logprobs": st.sampled_from([None, None, 1]),
        }
    ),
)


@settings(max_examples=60)
@given(st.lists(requests, min_size=1, max_size=4), st.sampled_from([None, 8]), st.sampled_from([4, 48]), st.booleans())
def test_forced_tokens_change_nothing(
    chosen: list[tuple], num_blocks: int | None, max_batch_tokens: int, speculate: bool
) -> None:
    def run(forces: bool) -> list[object]:
        engine = make_engine(num_blocks=num_blocks, max_batch_tokens=max_batch_tokens, speculate=speculate)
        made = [constrained(engine, Steps(*sets, forces=forces), prompt, **options) for sets, prompt, options in chosen]
        return results(engine, made)

    assert run(True) == run(False)


def test_forced_tokens_take_one_step_and_no_lm_head() -> None:
    engine = make_engine()
    constraint = Steps({1, 2}, {7}, {8}, {9}, {3, 4}, forces=True)
    tokens = text_of(engine, constrained(engine, constraint, [5], max_new_tokens=6))
    assert tokens[1:4] == [7, 8, 9]
    assert tokens == constraint.accepted
    batches = engine.backend.batches
    assert [batch.token_ids.tolist() for batch in batches] == [[5], tokens[:4], tokens[4:5]]
    assert [batch.logit_rows.tolist() for batch in batches] == [[0], [3], [0]]


def test_many_forced_tokens_take_several_steps() -> None:
    engine = make_engine(max_batch_tokens=512)
    tokens = text_of(engine, constrained(engine, Steps({7}, forces=True), [5], max_new_tokens=100))
    assert tokens == [7] * 100
    assert [len(batch.token_ids) for batch in engine.backend.batches] == [
        1,
        MAX_FORCED + 1,
        MAX_FORCED + 1,
        MAX_FORCED + 1,
    ]


def test_a_prompt_is_cut_while_a_stream_with_forced_tokens_runs() -> None:
    engine = make_engine(GatedBackend(), max_batch_tokens=512, max_stall_ms=1.0)
    forced = constrained(engine, Steps({1, 2}, {7}, {8}, forces=True), [5], max_new_tokens=6)
    prompt = engine.request([6] * 200, GenerationConfig(max_new_tokens=1))
    engine.submit(forced)
    engine.backend.entered.wait()
    engine.submit(prompt)
    time.sleep(0.005)  # a step that takes longer than `max_stall_ms`
    engine.backend.gate.set()
    text_of(engine, forced)
    assert len(engine.backend.batches[1].token_ids) < 50
    engine.cancel(prompt)


def test_masks_of_several_requests_are_computed_on_a_thread_of_their_own() -> None:
    engine = make_engine(GatedBackend())
    made = [Steps({1, 2}, {3, 4}) for _ in range(3)]
    requests = [constrained(engine, constraint, [5], max_new_tokens=2) for constraint in made]
    engine.submit(engine.request([6], GenerationConfig(max_new_tokens=1)))
    engine.backend.entered.wait()
    for request in requests:  # the next step has them all
        engine.submit(request)
    engine.backend.gate.set()
    assert len({tuple(text_of(engine, request)) for request in requests}) == 1
    assert all(name.startswith("bitnet-tt masks") for constraint in made for name in constraint.asked)


@pytest.mark.parametrize("method", ["mask", "forced", "accept"])
def test_a_constraint_that_fails_ends_only_its_own_request(method: str) -> None:
    class Failing(Steps):
        pass

    def fail(*_: object) -> None:
        raise RequestError("too complex")

    setattr(Failing, method, fail)
    engine = make_engine()
    requests = [constrained(engine, kind({1, 2}, {3, 4}), [5], max_new_tokens=8) for kind in (Steps, Failing, Steps)]
    for request in requests:
        engine.submit(request)
    with pytest.raises(RequestError, match="too complex"):
        text_of(engine, requests[1])
    assert text_of(engine, requests[0]) == text_of(engine, requests[2])
    check_idle(engine)


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
