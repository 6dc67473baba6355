"""The tokens of a request depend on its prompt and settings only, not on batches, chunks or preemption. Blocks and
requests never leak, and a closed engine says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.backends.base import Batch, Candidates, LogitFilter
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import BLOCK_SIZE, Engine
from bitnet_tt.errors import DeviceError, RequestError
from bitnet_tt.sampling import TokenLogprob
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, GatedBackend, next_token
from tests.engine.small_engine import check_idle, expected, make_engine, run, tokens_of, wait_for


@settings(max_examples=40)
@given(
    prompts=st.lists(st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=150), min_size=1, max_size=9),
    max_batch_size=st.integers(1, 5),
    max_batch_tokens=st.integers(1, 80),
    num_blocks=st.integers(1, 30),
)
def test_text_depends_on_nothing_but_the_prompt(
    prompts: list[list[int]], max_batch_size: int, max_batch_tokens: int, num_blocks: int
) -> None:
    engine = make_engine(max_batch_size=max_batch_size, max_batch_tokens=max_batch_tokens, num_blocks=num_blocks)
    assert run(engine, prompts) == [expected(prompt, 20) for prompt in prompts]


def test_preemption_gives_blocks_back_and_changes_nothing() -> None:
    engine = make_engine(num_blocks=8)
    prompts = [[i] * (BLOCK_SIZE + 5) for i in range(4)]
    assert run(engine, prompts, 100) == [expected(prompt, 100) for prompt in prompts]
    assert engine.stats().preemptions > 0
    check_idle(engine)


def test_a_seeded_text_depends_on_nothing_but_prompt_seed_and_choice() -> None:
    """A seed gives a text alone, and among others that are preempted; each choice is another text."""
    config = GenerationConfig(temperature=0.4, seed=5, max_new_tokens=90)
    prompt = [3] * (BLOCK_SIZE + 5)

    def texts(choices: list[int], **options: int) -> list[list[int]]:
        engine = make_engine(**options)
        requests = [engine.request(prompt, config, choice=choice) for choice in choices]
        for request in requests:
            engine.submit(request)
        return [tokens_of(engine.outputs(request)) for request in requests]

    alone = [texts([choice])[0] for choice in range(4)]
    assert texts([0, 1, 2, 3], num_blocks=8) == alone
    assert texts([3, 1, 1]) == [alone[3], alone[1], alone[1]]
    assert len(set(map(tuple, alone))) == 4


def test_blocks_of_a_preempted_request_do_not_count_as_reused() -> None:
    engine = make_engine(num_blocks=8, max_batch_tokens=4)
    requests = [engine.request([i] * (100 + 50 * i), GenerationConfig(max_new_tokens=90)) for i in range(2)]
    for request in requests:
        engine.submit(request)
    for i, request in enumerate(requests):
        pieces = list(engine.outputs(request))
        assert tokens_of(pieces) == expected([i] * (100 + 50 * i), 90)
        assert pieces[-1].timings.reused_tokens == 0
    assert engine.stats().preemptions > 0


def test_the_same_beginning_is_computed_once() -> None:
    engine = make_engine()
    prompt = [i % VOCAB_SIZE for i in range(3 * BLOCK_SIZE + 5)]
    first = run(engine, [prompt])
    steps = len(engine.backend.batches)
    request = engine.request(prompt, GenerationConfig(max_new_tokens=20))
    assert tokens_of(engine.outputs(request)) == first[0]
    assert request.reused == 3 * BLOCK_SIZE
    assert len(engine.backend.batches[steps].token_ids) == 5


def test_the_same_beginning_is_computed_again_for_another_cache_key() -> None:
    engine = make_engine()
    prompt = [i % VOCAB_SIZE for i in range(3 * BLOCK_SIZE + 5)]
    reused = []
    for key in ("", "a", "b", "a", "", "c"):
        request = engine.request(prompt, GenerationConfig(max_new_tokens=20), cache_key=key)
        assert tokens_of(engine.outputs(request)) == expected(prompt, 20)
        reused.append(request.reused)
    assert reused == [0, 0, 0, 3 * BLOCK_SIZE, 3 * BLOCK_SIZE, 0]


def test_a_long_prompt_does_not_stall_the_others() -> None:
    engine = make_engine(max_batch_tokens=16)
    short = engine.request([1], GenerationConfig(max_new_tokens=100))
    long = engine.request([2] * 200, GenerationConfig(max_new_tokens=1))
    for request in (short, long):
        engine.submit(request)
    for request in (short, long):
        list(engine.outputs(request))
    first = engine.backend.batches[0]
    assert list(first.starts) == [0, 1, 16]
    together = [batch for batch in engine.backend.batches if len(batch.starts) == 3]
    assert len(together) >= 13
    assert all(len(batch.logit_rows) >= 1 for batch in together)


def test_end_ids_stop_and_can_be_ignored() -> None:
    third = expected([5], 3)[2]
    engine = make_engine(eos_token_ids=[third])
    pieces = list(engine.outputs(engine.request([5], GenerationConfig())))
    assert (pieces[-1].token_ids, pieces[-1].finish_reason) == ((third,), "stop")
    ignoring = GenerationConfig(ignore_eos=True, max_new_tokens=9)
    assert len(list(engine.outputs(engine.request([5], ignoring)))) == 9
    stopping = GenerationConfig(stop_token_ids=[third])
    assert list(make_engine().outputs(engine.request([5], stopping)))[-1].finish_reason == "stop"


def test_a_text_fills_the_context_and_no_more() -> None:
    engine = make_engine(context_length=50)
    assert len(run(engine, [[1] * 45], max_new_tokens=None)[0]) == 5


def test_closing_early_frees_the_blocks() -> None:
    engine = make_engine(GatedBackend())
    engine.backend.gate.set()
    outputs = engine.outputs(engine.request([1] * 100, GenerationConfig(max_new_tokens=None)))
    next(outputs)
    engine.backend.gate.clear()
    running = engine.stats()
    assert running.running == 1
    assert running.free_blocks < running.blocks
    outputs.close()
    engine.backend.gate.set()
    check_idle(engine)
    assert engine.stats().steps < 150


def test_a_request_that_nobody_iterates_does_no_work() -> None:
    engine = make_engine()
    engine.outputs(engine.request([1], GenerationConfig()))
    run(engine, [[2]], 3)
    check_idle(engine)
    assert len(engine.backend.batches) == 3


def test_a_token_that_cannot_be_sampled_changes_no_other_request() -> None:
    class FailingBackend(FakeBackend):
        def candidates(self, batch: Batch, filters: Sequence[LogitFilter]) -> list[Candidates]:
            rows = super().candidates(batch, filters)
            return [
                Candidates(np.empty(0, np.float32)) if one.noise is not None else row
                for row, one in zip(rows, filters, strict=True)
            ]

    engine = Engine(FailingBackend(), vocab_size=VOCAB_SIZE, context_length=256)
    failing = engine.request([1], GenerationConfig(temperature=1.0))
    good = [engine.request([token], GenerationConfig(max_new_tokens=20)) for token in (2, 3)]
    for request in (good[0], failing, good[1]):
        engine.submit(request)
    for _ in range(2):
        with pytest.raises(ValueError, match="empty sequence"):
            list(engine.outputs(failing))
        failing = engine.request([1], GenerationConfig(temperature=1.0))
    tokens = [tokens_of(engine.outputs(request)) for request in good]
    assert tokens == [expected([token], 20) for token in (2, 3)]
    check_idle(engine)


def test_penalties_and_bias_reach_the_sampler() -> None:
    """The fake model's best logit is 1, all others are 0."""
    engine = make_engine()

    def text(**options: object) -> list[int]:
        request = engine.request([5], GenerationConfig(max_new_tokens=30, **options))
        return tokens_of(engine.outputs(request))

    best = expected([5], 30)
    assert text() == best
    assert text(logit_bias={9: 100}) == [9] * 30
    assert best[0] not in text(logit_bias={best[0]: -100})
    assert len(set(text(presence_penalty=2.0))) == 30  # a token that was generated is at most -1
    with pytest.raises(RequestError, match="logit_bias has token id 97"):
        text(logit_bias={VOCAB_SIZE: 1.0})


def test_reported_log_probabilities_are_those_of_the_model() -> None:
    engine = make_engine()

    def first(**options: object) -> TokenLogprob:
        (logprob,) = next(engine.outputs(engine.request([5], GenerationConfig(logprobs=2, **options)))).logprobs
        return logprob

    plain, changed = first(), first(logit_bias={9: 100}, presence_penalty=1.0, temperature=0.5)
    assert changed.token_id == 9
    assert changed.top == plain.top
    assert changed.logprob < plain.logprob


def test_a_cancelled_request_is_not_queued_again() -> None:
    engine = make_engine()
    request = engine.request([5], GenerationConfig())
    engine.cancel(request)
    engine.submit(request)
    assert list(engine.outputs(request)) == []
    check_idle(engine)


class SmallBackend(FakeBackend):
    def allocate(self, num_blocks: int, block_size: int) -> None:
        if num_blocks > 20:
            raise DeviceError("too little memory")
        super().allocate(num_blocks, block_size)


def test_a_small_device_gets_a_smaller_cache_but_never_less_than_a_text() -> None:
    engine = Engine(SmallBackend(), vocab_size=VOCAB_SIZE, context_length=256, max_batch_size=4)
    assert engine.stats().blocks == 16
    prompts = [[i] * 200 for i in range(4)]
    assert run(engine, prompts) == [expected(prompt, 20) for prompt in prompts]
    for too_much in ({"context_length": 1024}, {"context_length": 256, "num_blocks": 30}):
        with pytest.raises(DeviceError, match="memory"):
            Engine(SmallBackend(), vocab_size=VOCAB_SIZE, **too_much)


def test_a_request_without_a_filter_changes_no_other_request() -> None:
    engine = make_engine(GatedBackend())
    good = [engine.request([token], GenerationConfig(max_new_tokens=20)) for token in (2, 3)]
    failing = engine.request([1], GenerationConfig())
    failing.config = None  # type: ignore[assignment]
    for request in (good[0], failing, good[1]):
        engine.submit(request)
    engine.backend.gate.set()
    with pytest.raises(AttributeError):
        list(engine.outputs(failing))
    assert [tokens_of(engine.outputs(request)) for request in good] == [expected([token], 20) for token in (2, 3)]
    check_idle(engine)


def test_a_device_that_fails_ends_the_running_requests_and_no_others() -> None:
    class FailingBackend(GatedBackend):
        fails = True

        def forward(self, batch: Batch) -> np.ndarray:
            result = super().forward(batch)
            if self.fails:
                self.fails = False
                raise DeviceError("the card was pulled out")
            return result

    engine = make_engine(FailingBackend(), max_batch_size=2)
    requests = [engine.request([token], GenerationConfig(max_new_tokens=5)) for token in range(4)]
    for request in requests:
        engine.submit(request)
        engine.backend.entered.wait()
    running, waiting = [requests[0]], requests[1:]  # the first step began before the others were submitted
    engine.backend.gate.set()
    for request in running:
        with pytest.raises(DeviceError, match="pulled out"):
            list(engine.outputs(request))
    assert [tokens_of(engine.outputs(request)) for request in waiting] == [expected([token], 5) for token in (1, 2, 3)]
    check_idle(engine)


def test_logits_and_scores_are_those_of_every_position() -> None:
    engine = make_engine()
    text = [i % VOCAB_SIZE for i in range(120)]
    logits = engine.logits(text)
    wanted = [next_token(text[: i + 1]) for i in range(120)]
    assert np.argmax(logits, axis=-1).tolist() == wanted
    scores = engine.score(text, top=1)
    assert [one.token_id for one in scores] == text[1:]
    assert [one.top[0][0] for one in scores] == wanted[:-1]
    assert engine.score(text[:1]) == []
    check_idle(engine)


def test_a_score_fills_the_context_and_waits_for_blocks() -> None:
    engine = make_engine(num_blocks=8)
    text = [1] * 256
    outputs = [engine.outputs(engine.request([i] * 100, GenerationConfig(max_new_tokens=60))) for i in range(3)]
    first = [next(one) for one in outputs]
    assert len(engine.score([*text, 5])) == 256
    for i, one in enumerate(outputs):
        assert tokens_of([first[i], *one]) == expected([i] * 100, 60)
    with pytest.raises(RequestError, match="257 tokens"):
        engine.logits([*text, 5])
    check_idle(engine)


def test_close_closes_the_backend_and_later_calls_say_so() -> None:
    engine = make_engine()
    outputs = engine.outputs(engine.request([5], GenerationConfig()))
    unsubmitted = engine.request([5], GenerationConfig())
    next(outputs)
    engine.close()
    engine.close()
    assert engine.join(timeout=20)
    assert engine.backend.closings == 1
    for later in (
        lambda: next(outputs),
        lambda: engine.score([1]),
        lambda: engine.logits([1]),
        lambda: engine.request([5], GenerationConfig()),
        lambda: engine.submit(unsubmitted),
    ):
        with pytest.raises(DeviceError, match="closed; load it again"):
            later()
    check_idle(engine)


def test_an_engine_without_requests_closes_the_backend_at_once() -> None:
    engine = make_engine()
    engine.close()
    assert engine.backend.closings == 1
    assert engine.join()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "empty"), ([1] * 256, "256 tokens"), ([VOCAB_SIZE], "97"), ([3, -1], "-1")],
)
def test_prompts_that_the_model_cannot_take_are_refused(prompt: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make_engine().request(prompt, GenerationConfig())


def test_log_probabilities_are_reported_on_request() -> None:
    engine = make_engine()
    (piece,) = engine.outputs(engine.request([4], GenerationConfig(max_new_tokens=1, logprobs=3)))
    (logprob,) = piece.logprobs
    assert logprob.token_id == piece.token_ids[0] == logprob.top[0][0]
    assert len(logprob.top) == 3
    assert logprob.logprob == pytest.approx(np.log(np.e / (np.e + VOCAB_SIZE - 1)))


def test_each_row_has_the_filter_of_its_request() -> None:
    engine = make_engine(GatedBackend())
    settings = [{}, {"temperature": 1.0, "top_k": 5}, {"logprobs": 0}]
    engine.submit(engine.request([1], GenerationConfig(max_new_tokens=1)))
    engine.backend.entered.wait()
    requests = [engine.request([1], GenerationConfig(**option, max_new_tokens=1)) for option in settings]
    for request in requests:
        engine.submit(request)
    engine.backend.gate.set()
    wait_for(lambda: all(request.ended for request in requests))
    assert engine.backend.filters[1:] == [[LogitFilter(count=1), LogitFilter(count=5), LogitFilter()]]
