"""Generate with the engine in mock mode. One thread loads the model and ends; the engine's own thread runs it.

Prints, as JSON, the threads that called the backend for each kind of call, and how many tokens each request got.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine import AsyncEngine

PROMPT = list(range(100, 140))


class Some:
    """Allows a few tokens; one thread computes the masks of several requests."""

    def __init__(self, words: int) -> None:
        self._mask = np.zeros(words, np.uint32)
        self._mask[3] = 0b110

    def mask(self) -> np.ndarray:
        return self._mask

    def forced(self) -> int | None:
        return None

    def accept(self, token_id: int) -> None:
        assert token_id in (97, 98)


def main() -> None:
    load = partial(BitNetModel.from_pretrained, "demo", device="tt", context_length=64)
    with ThreadPoolExecutor(1) as loader:
        model = loader.submit(load).result()
    threads: dict[str, set[str]] = {"step": set(), "close": set()}
    model.backend.candidates = _noting(threads["step"], model.backend.candidates)
    model.backend.close = _noting(threads["close"], model.backend.close)
    words = -(-model.config.vocab_size // 32)
    config = GenerationConfig(max_new_tokens=3, ignore_eos=True)
    with model:
        tokens = [sum(len(piece.token_ids) for piece in model.stream(PROMPT, config))]

        async def everything() -> list[int]:
            engine = AsyncEngine(model.engine)

            async def count(constraint: Some | None) -> int:
                return sum(
                    [len(piece.token_ids) async for piece in engine.stream(PROMPT, config, constraint=constraint)]
                )

            scored = len(await engine.score(PROMPT))
            return [scored, *await asyncio.gather(count(None), count(Some(words)), count(Some(words)))]

        tokens += asyncio.run(everything())
    print(json.dumps({"tokens": tokens} | {call: sorted(names) for call, names in threads.items()}))


def _noting[**P, R](names: set[str], call: Callable[P, R]) -> Callable[P, R]:
    """Return the same call, which notes the name of the thread that makes it."""

    def noting(*arguments: P.args, **options: P.kwargs) -> R:
        names.add(threading.current_thread().name)
        return call(*arguments, **options)

    return noting


if __name__ == "__main__":
    main()
