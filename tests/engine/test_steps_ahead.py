"""A backend that runs steps ahead changes no text, no count and no end, whatever arrives, stops or is cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.channel import ThreadChannel
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.step import Stepper
from bitnet_tt.errors import DeviceError
from bitnet_tt.generation import TextStream
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, QueueingBackend
from tests.engine.small_engine import LetterTokenizer, expected, make_engine, results, run, tokens_of

PROMPTS = st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=70)
CONFIGS = st.builds(
    GenerationConfig,
    max_new_tokens=st.integers(1, 60),
    stop=st.lists(st.text("abcdefghij", min_size=2, max_size=3), max_size=2).map(tuple),
    stop_token_ids=st.lists(st.integers(0, VOCAB_SIZE - 1), max_size=2).map(tuple),
    temperature=st.sampled_from([0.0, 0.0, 0.0, 0.7]),
    repetition_penalty=st.sampled_from([1.0, 1.0, 1.0, 1.2]),
    logprobs=st.sampled_from([None, None, None, 2]),
    seed=st.just(3),
)
# What happens after so many steps: a request arrives, and after so many more it is cancelled.
ARRIVALS = st.tuples(PROMPTS, CONFIGS, st.integers(0, 12), st.one_of(st.none(), st.none(), st.integers(0, 30)))


@settings(max_examples=60, deadline=None)
@given(st.lists(ARRIVALS, min_size=1, max_size=8), st.integers(1, 4), st.integers(8, 20))
def test_texts_and_counts_are_those_of_single_steps(arrivals: list[tuple], batch_size: int, num_blocks: int) -> None:
    plain, ahead = (
        outcomes(backend, arrivals, max_batch_size=batch_size, num_blocks=num_blocks)
        for backend in (FakeBackend(), QueueingBackend())
    )
    for one, other, (*_, cancelled) in zip(plain, ahead, arrivals, strict=True):
        if cancelled is None:
            assert other == one
        else:  # it may be cancelled a token earlier or later
            shorter, longer = sorted((one[:-1], other[:-1]), key=len)
            assert longer[: len(shorter)] == shorter


def outcomes(backend: FakeBackend, arrivals: Sequence[tuple], **options: Any) -> list[list[tuple]]:
    """Step until all requests have ended. Return what each gave, piece by piece, and check that nothing is held."""
    stepper = Stepper(backend, context_length=128, max_batch_tokens=48, **options)
    requests = [
        Request(
            prompt,
            config,
            ThreadChannel(),
            eos_token_ids=frozenset(config.stop_token_ids),
            text_stream=TextStream(LetterTokenizer(), config.stop),
        )
        for prompt, config, *_ in arrivals
    ]
    pieces: dict[Request, list[tuple]] = {request: [] for request in requests}
    step = 0
    while stepper.busy or step <= max(arrival for _, _, arrival, _ in arrivals):
        for request, (_, _, arrival, cancelled) in zip(requests, arrivals, strict=True):
            if step == arrival:
                stepper.add(request)
            if cancelled is not None and step == arrival + cancelled:
                stepper.end(request, "cancelled")
        stepper.step()
        for request, delivery in stepper.take_news():
            for piece in delivery.pieces:
                count = None if piece.timings is None else piece.timings.generated_tokens
                pieces[request].append((piece.text, piece.token_ids, piece.finish_reason, piece.logprobs, count))
        step += 1
    assert all(request.ended and request.error is None for request in requests)
    blocks, free, running, _ = stepper.counts
    assert (free, running) == (blocks, 0)
    return list(pieces.values())


def test_greedy_steps_are_started_before_the_one_before_is_read() -> None:
    backend = QueueingBackend()
    prompts = [[1, 2], [3]]
    assert run(make_engine(backend), prompts, 40) == [expected(prompt, 40) for prompt in prompts]
    # The prompts are a step of their own. The last tokens follow from a step that nothing follows.
    assert backend.ahead == 38


def test_a_stop_that_is_found_late_costs_one_row() -> None:
    token = expected([5], 12)[-1]
    stop = expected([5], 12).index(token) + 1
    config = GenerationConfig(max_new_tokens=40, stop_token_ids=[token])
    steps = []
    for backend in (FakeBackend(), QueueingBackend()):
        engine = make_engine(backend)
        ((*_, last),) = results(engine, [engine.request([5], config)])
        assert last[1:3] == ((token,), "stop")
        steps.append(engine.stats().steps)
    assert steps == [stop, stop + 1]


@pytest.mark.parametrize(
    "options", [{"temperature": 0.7, "seed": 1}, {"logprobs": 1}, {"repetition_penalty": 1.1}], ids=str
)
def test_what_the_host_must_know_is_not_run_ahead(options: dict[str, Any]) -> None:
    backend = QueueingBackend()
    engine = make_engine(backend)
    results(engine, [engine.request([1], GenerationConfig(max_new_tokens=9, **options))])
    assert backend.ahead == 0


def test_preempted_texts_are_the_same() -> None:
    backend = QueueingBackend()
    engine = make_engine(backend, num_blocks=8)
    prompts = [[i] * 37 for i in range(4)]
    assert run(engine, prompts, 100) == [expected(prompt, 100) for prompt in prompts]
    assert engine.stats().preemptions > 0
    assert backend.ahead > 0


def test_a_step_that_fails_ends_the_running_requests_and_no_later_ones() -> None:
    class Failing(QueueingBackend):
        def forward(self, batch: Any) -> Any:
            if len(self.batches) == 7:
                self.batches.append(batch)
                raise DeviceError("the device failed")
            return super().forward(batch)

    backend = Failing()
    engine = make_engine(backend)
    with pytest.raises(DeviceError, match="the device failed"):
        tokens_of(engine.outputs(engine.request([1], GenerationConfig(max_new_tokens=20))))
    assert run(engine, [[2]]) == [expected([2], 20)]


@pytest.mark.parametrize("backend", [FakeBackend, QueueingBackend])
def test_texts_that_are_embedded_may_join_and_leave(backend: type[FakeBackend]) -> None:
    """They are in the steps of a stream, in parts, beside a score, and alone. The stream runs ahead between them."""
    made = backend()
    stepper = Stepper(made, context_length=256, max_batch_size=4, max_batch_tokens=48)
    stream = Request([5, 6], GenerationConfig(max_new_tokens=40), ThreadChannel())
    found: dict[int, list[int]] = {}
    scored: list[int] = []
    others = {
        step: Request(
            [step] * length,
            GenerationConfig(),
            ThreadChannel(),
            on_hidden=lambda row, step=step: found.setdefault(step, []).append(int(row.argmax())),
        )
        for step, length in ((0, 100), (9, 1), (10, 70), (50, 3))
    }
    score = Request(
        [7] * 60, GenerationConfig(), ThreadChannel(), on_logits=lambda _, rows: scored.extend(map(np.argmax, rows))
    )
    stepper.add(stream)
    for step in range(60):
        if step in others:
            stepper.add(others[step])
        if step == 10:
            stepper.add(score)
        stepper.step()
    assert stream.tokens[2:] == expected([5, 6], 40)
    assert found == {step: expected(request.prompt, 1) for step, request in others.items()}
    assert scored == [expected([7] * length, 1)[0] for length in range(1, 61)]
    assert all(request.finish_reason == "length" for request in (stream, score, *others.values()))
    assert not stepper.busy
    if isinstance(made, QueueingBackend):
        assert made.ahead > 10
