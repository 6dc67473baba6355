"""The texts of a server over workers that do as they are told."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bitnet_tt.config import GenerationConfig
from bitnet_tt.errors import DeviceError, RequestError
from bitnet_tt.generation import Piece
from bitnet_tt.sampling import TokenLogprob
from bitnet_tt.scale.fleet_service import FleetService
from bitnet_tt.scale.messages import (
    ALIVE,
    LEAVING,
    EmbeddingRequest,
    Frame,
    ScoreRequest,
    TextRequest,
    request_from_json,
)
from bitnet_tt.server.text_service import DeadlineError

type Step = str | float | Exception
"""A frame, a time to wait in seconds, or what the runtime raises."""


def frame(*token_ids: int, end: bool = False) -> str:
    pieces = [Piece(f"<{token_id}>", (token_id,)) for token_id in token_ids]
    if end:
        pieces.append(Piece("", (0,), "stop"))
    return Frame(pieces, reused_tokens=2, queue_seconds=0.5).to_json()


class Workers:
    """Each text that is asked for follows the next script. `requests` and `lost` have what was asked and said."""

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self.card = SimpleNamespace(name="demo")
        self.members = [SimpleNamespace(card=SimpleNamespace(max_batch_size=8))]
        self.scripts = list(scripts)
        self.requests: list[Any] = []
        self.lost: list[str] = []

    @asynccontextmanager
    async def lease(self, tokens: Sequence[int], cache_key: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(call=self.call, prompt_is_computed=self.nothing, fail=self.lost.append)

    async def nothing(self) -> None: ...

    async def call(self, payload: str, context: object) -> AsyncIterator[str]:
        self.requests.append(request_from_json(payload))
        return self.frames(self.scripts.pop(0))

    async def frames(self, script: Sequence[Step]) -> AsyncIterator[str]:
        for step in script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, str):
                yield step
            else:
                await asyncio.sleep(step)


def run(workers: Workers, *, timeout: float | None = None, stall: float = 5.0, **options: Any) -> list[Piece]:
    service = FleetService(workers, max_waiting=8, timeout=timeout, stall_seconds=stall)  # type: ignore[arg-type]

    async def read() -> list[Piece]:
        return [piece async for piece in service.stream([5, 6, 7], GenerationConfig(**options))]

    return asyncio.run(read())


def tokens(pieces: list[Piece]) -> list[int]:
    return [token_id for piece in pieces for token_id in piece.token_ids]


LOSS = ValueError("Stream ended before generation completed")


def test_a_lost_text_goes_on_with_the_same_seed_and_all_its_tokens() -> None:
    workers = Workers([frame(10), frame(11, 12), LOSS], [frame(13), LEAVING], [frame(14, end=True)])
    pieces = run(workers, temperature=1.0)
    assert tokens(pieces) == [10, 11, 12, 13, 14, 0]
    assert [request.resumed for request in workers.requests] == [[], [10, 11, 12], [10, 11, 12, 13]]
    [seed] = {request.config.seed for request in workers.requests}
    assert seed is not None
    assert workers.lost == [str(LOSS), "it leaves"]
    timings = pieces[-1].timings
    assert timings is not None
    assert (timings.prompt_tokens, timings.generated_tokens, timings.reused_tokens) == (3, 6, 2)
    assert timings.queue_seconds == 0.5


def test_two_texts_without_a_seed_have_different_ones() -> None:
    first, second = Workers([frame(end=True)]), Workers([frame(end=True)])
    run(first)
    run(second)
    assert first.requests[0].config.seed != second.requests[0].config.seed


def test_a_text_that_ends_every_worker_ends_too() -> None:
    workers = Workers([frame(10), LOSS], [LOSS], [LOSS], [frame(11)])
    with pytest.raises(DeviceError, match="3 workers one after the other were lost"):
        run(workers)
    assert len(workers.requests) == 3


def test_losses_with_tokens_between_them_do_not_count() -> None:
    workers = Workers(*([frame(token_id), LOSS] for token_id in range(10, 20)), [frame(end=True)])
    assert len(tokens(run(workers))) == 11


def test_a_failed_device_is_a_lost_worker_and_a_bad_request_is_not() -> None:
    device = Frame(error=DeviceError("the card hangs")).to_json()
    assert tokens(run(Workers([frame(10), device], [frame(11, end=True)]))) == [10, 11, 0]
    workers = Workers([Frame(error=RequestError("the prompt is too long")).to_json()])
    with pytest.raises(RequestError, match="too long"):
        run(workers)
    assert workers.lost == []


def test_a_slow_worker_that_says_so_is_waited_for_and_a_silent_one_is_not() -> None:
    slow = [0.1, ALIVE, 0.1, ALIVE, 0.1, ALIVE, 0.1, frame(10, end=True)]
    assert tokens(run(Workers(slow), stall=0.25)) == [10, 0]
    workers = Workers([frame(10), 30.0], [frame(11, end=True)])
    assert tokens(run(workers, stall=0.25)) == [10, 11, 0]
    assert workers.lost == ["it said nothing for 0.25 s"]


def test_the_time_of_a_text_counts_over_all_its_workers() -> None:
    with pytest.raises(DeadlineError, match=r"0\.3 seconds"):
        run(Workers([0.2, frame(10), LOSS], [0.05, ALIVE, 30.0]), timeout=0.3)


def test_a_score_begins_again() -> None:
    scores = [TokenLogprob(6, -1.25, ((6, -1.25), (9, -2.0))), TokenLogprob(7, -0.1)]
    workers = Workers([ALIVE, LOSS], [Frame(scores=scores).to_json()])
    service = FleetService(workers, max_waiting=8, stall_seconds=5)  # type: ignore[arg-type]
    assert asyncio.run(service.score([5, 6, 7], 2)) == [None, *scores]
    assert workers.requests == [ScoreRequest([5, 6, 7], 2)] * 2


def test_an_embedding_begins_again() -> None:
    vector = np.array([1 / 3, -2.5e-7, 0.0], np.float32)
    workers = Workers([ALIVE, LOSS], [LEAVING], [ALIVE, Frame(embedding=vector.tolist()).to_json()])
    service = FleetService(workers, max_waiting=8, stall_seconds=5)  # type: ignore[arg-type]
    found = asyncio.run(service.embed([5, 6, 7], cache_key="key"))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vector)
    assert workers.requests == [EmbeddingRequest([5, 6, 7], "key")] * 3


def test_cancel_all_ends_texts_without_a_reason() -> None:
    workers = Workers([frame(10), 0.2])
    service = FleetService(workers, max_waiting=8, stall_seconds=5)  # type: ignore[arg-type]

    async def read() -> list[Piece]:
        pieces = []
        async for piece in service.stream([5], GenerationConfig()):
            pieces.append(piece)
            service.cancel_all()
        return pieces

    assert tokens(asyncio.run(read())) == [10]
    assert workers.lost == []


def test_messages_keep_every_bit() -> None:
    config = GenerationConfig(
        temperature=0.1 + 0.2, top_p=1 / 3, logit_bias={7: 1 / 7, 3: -100}, stop=["é🙂", "x"], seed=2**64 - 1
    )
    request = TextRequest([1, 2], [3], config, 1, "key", "start: /a/")
    assert request_from_json(request.to_json()) == request
    logprob = TokenLogprob(4, -1 / 3, ((4, -1 / 3), (5, float("-inf"))))
    pieces = [Piece("é", (4, 5), None, (logprob,)), Piece("", (), "length")]
    assert Frame.from_json(Frame(pieces, 3, 1 / 3).to_json()) == Frame(pieces, 3, 1 / 3)
    assert json.loads(ALIVE) == {}
    assert Frame.from_json(LEAVING).leaving
