"""Tasks of asyncio share the engine: texts do not change, nothing blocks the loop, and whoever leaves is cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine
from bitnet_tt.errors import DeviceError, DrainingError, QueueFullError, RequestError
from tests.engine.fake_backend import VOCAB_SIZE, FakeBackend, GatedBackend, SlowBackend, next_token
from tests.engine.small_engine import check_idle, expected, expected_text, make_engine, run, tokens_of, wait_for


def make_async(backend: FakeBackend | None = None, **settings: int) -> AsyncEngine:
    return AsyncEngine(make_engine(backend, **settings))


async def take(engine: AsyncEngine, prompt: list[int], config: GenerationConfig) -> tuple[list[int], str, str | None]:
    pieces = [piece async for piece in engine.stream(prompt, config)]
    assert pieces[-1].timings is not None
    assert pieces[-1].timings.generated_tokens == len(tokens_of(pieces))
    return tokens_of(pieces), "".join(piece.text for piece in pieces), pieces[-1].finish_reason


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(8, 20))
def test_any_interleaving_of_tasks_and_threads_gives_each_its_own_text(rng: random.Random, num_blocks: int) -> None:
    engine = make_async(num_blocks=num_blocks)
    prompts = [rng.choices(range(VOCAB_SIZE), k=rng.randrange(1, 100)) for _ in range(12)]
    thread_results: list[list[list[int]]] = []
    thread = threading.Thread(target=lambda: thread_results.append(run(engine.engine, prompts[:2], 30)), daemon=True)

    async def one(prompt: list[int]) -> None:
        action = rng.choice(["text", "text", "score", "cancel", "break", "wait"])
        config = GenerationConfig(max_new_tokens=rng.randrange(1, 40), stop=["".join(rng.choices("abcdefghij", k=2))])
        await asyncio.sleep(rng.random() * 0.01)
        match action:
            case "text":
                assert await take(engine, prompt, config) == expected_text(prompt, config)
            case "score":
                scores = await engine.score(prompt, top=1)
                assert [s.top[0][0] for s in scores] == [next_token(prompt[: i + 1]) for i in range(len(prompt) - 1)]
            case "cancel":
                task = asyncio.create_task(take(engine, prompt, config))
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            case "break":
                async for piece in engine.stream(prompt, config):
                    assert piece.token_ids[0] == next_token(prompt)
                    break
            case "wait":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(rng.random() * 0.01):
                        await take(engine, prompt, config)

    async def everything() -> None:
        await asyncio.gather(*map(one, prompts))

    thread.start()
    asyncio.run(everything())
    thread.join(timeout=20)
    assert thread_results == [[expected(prompt, 30) for prompt in prompts[:2]]]
    check_idle(engine.engine)
    asyncio.run(engine.close())
    assert engine.engine.backend.closings == 1


def test_the_loop_runs_while_the_engine_steps() -> None:
    async def everything() -> None:
        engine = make_async(GatedBackend())
        backend = engine.engine.backend
        task = asyncio.create_task(take(engine, [5], GenerationConfig(max_new_tokens=5)))
        await asyncio.to_thread(backend.entered.wait)
        for _ in range(100):  # the step waits for the gate all the time
            await asyncio.sleep(0)
            assert engine.stats().running == 1
        backend.gate.set()
        assert (await task)[0] == expected([5], 5)

    asyncio.run(everything())


def test_a_stream_starts_at_once_and_refuses_at_once() -> None:
    async def everything() -> None:
        engine = make_async(GatedBackend(), max_batch_size=1, max_queue=0)
        with pytest.raises(RequestError, match="empty"):
            engine.stream([], GenerationConfig())
        stream = engine.stream([1], GenerationConfig(max_new_tokens=2))
        assert engine.stats().running + engine.stats().waiting == 1
        with pytest.raises(QueueFullError):
            engine.stream([1], GenerationConfig())
        with pytest.raises(QueueFullError):
            await engine.score([1, 2])
        assert not await engine.drain(timeout=0)
        with pytest.raises(DrainingError):
            engine.stream([1], GenerationConfig())
        engine.engine.backend.gate.set()
        assert tokens_of([piece async for piece in stream]) == expected([1], 2)
        assert [piece async for piece in stream] == []
        assert await engine.drain()

    asyncio.run(everything())


@pytest.mark.parametrize("leave", ["cancel", "close", "drop"])
def test_who_leaves_during_a_long_prompt_stops_it(leave: str) -> None:
    async def everything() -> None:
        engine = make_async(GatedBackend(), max_batch_tokens=8)
        stream = engine.stream([1] * 200, GenerationConfig())
        if leave == "cancel":
            task = asyncio.create_task(anext(stream))
            del stream
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            del task
        elif leave == "close":
            await stream.aclose()
            assert [piece async for piece in stream] == []
        else:
            del stream
        backend = engine.engine.backend
        backend.gate.set()
        await asyncio.to_thread(check_idle, engine.engine)
        assert len(backend.batches) <= 1

    asyncio.run(everything())


def test_errors_and_timeouts_come_out_of_the_stream() -> None:
    class FailingBackend(FakeBackend):
        def forward(self, batch: object) -> None:  # type: ignore[override]
            raise DeviceError("no power")

    async def everything() -> None:
        with pytest.raises(DeviceError, match="no power"):
            await take(make_async(FailingBackend()), [1], GenerationConfig())
        with pytest.raises(DeviceError, match="no power"):
            await make_async(FailingBackend()).score([1, 2])
        slow = make_async(SlowBackend(0.02, 0))
        pieces = [piece async for piece in slow.stream([1], GenerationConfig(), timeout=0.1)]
        assert pieces[-1].finish_reason == "timeout"
        closing = make_async(GatedBackend())
        task = asyncio.create_task(take(closing, [1], GenerationConfig()))
        await asyncio.sleep(0.01)
        closing.engine.close()
        closing.engine.backend.gate.set()
        with pytest.raises(DeviceError, match="closed"):
            await task
        with pytest.raises(DeviceError, match="closed"):
            await closing.score([1, 2])

    asyncio.run(everything())


def test_streams_of_a_loop_that_was_closed_are_cancelled() -> None:
    engine = make_async(GatedBackend())
    streams = []

    async def leave() -> None:
        streams.append(engine.stream([1], GenerationConfig(max_new_tokens=None)))

    asyncio.run(leave())
    engine.engine.backend.gate.set()
    wait_for(lambda: engine.stats().running + engine.stats().waiting == 0)
    check_idle(engine.engine)
    assert len(engine.engine.backend.batches) < 200


def test_the_model_streams_for_tasks_what_it_streams_for_threads() -> None:
    async def everything(model: BitNetModel) -> list[str]:
        async def text(stream: object) -> str:
            return "".join([piece.text async for piece in stream])  # type: ignore[attr-defined]

        return await asyncio.gather(
            text(model.astream("Once upon a time", max_new_tokens=20)),
            text(model.astream("Once", GenerationConfig(temperature=1.0, seed=3), max_new_tokens=20)),
            text(model.astream_chat([{"role": "user", "content": "Hi"}], max_new_tokens=20)),
        )

    with BitNetModel.from_pretrained("demo") as model:
        assert asyncio.run(everything(model)) == [
            model.generate("Once upon a time", max_new_tokens=20),
            model.generate("Once", temperature=1.0, seed=3, max_new_tokens=20),
            model.chat([{"role": "user", "content": "Hi"}], max_new_tokens=20),
        ]
