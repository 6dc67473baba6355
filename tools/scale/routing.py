"""How many prompt tokens come from caches: a frontend that knows prefixes, and servers that take turns."""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tools.scale.fleet import COMMAND, Fleet, Program

_PREFIX_TOKENS = 288
_SUFFIX_TOKENS = 16
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of prompt tokens that were reused.

    Attributes:
        fleet: By the frontend.
        turns: By servers that take turns.
        most: If one worker with an endless cache had computed all prompts, one after the other.
    """

    fleet: float
    turns: float
    most: float


def routing(workers: int, prefixes: int, requests: int, seed: int) -> Shares:
    """Send prompts with shared prefixes, in random order, one at a time.

    Args:
        workers: How many workers, and how many servers.
        prefixes: How many different prefixes of 288 tokens there are.
        requests: How many prompts begin with each. 16 random tokens follow.
        seed: Of the prompts and their order.
    """
    numbers = random.Random(seed)
    heads = [[numbers.randrange(20, 400) for _ in range(_PREFIX_TOKENS)] for _ in range(prefixes)]
    prompts = [[*head, *(numbers.randrange(20, 400) for _ in range(_SUFFIX_TOKENS))] for head in heads * requests]
    numbers.shuffle(prompts)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.start(workers)
            fleet.wait_for_members(workers)
            by_fleet = _share([fleet.url], prompts)
        finally:
            fleet.end()
    options = ("serve", "--port", "0", "--threads", "1")
    servers = [Program([*COMMAND, *options]) for _ in range(workers)]
    try:
        by_turns = _share([one.wait_for(r"^Ready: (\S+)").group(1) for one in servers], prompts)
    finally:
        for one in servers:
            one.end()
    again = (len(prompts) - prefixes) * (_PREFIX_TOKENS // _BLOCK * _BLOCK)
    return Shares(by_fleet, by_turns, again / sum(map(len, prompts)))


def _share(urls: list[str], prompts: list[list[int]]) -> float:
    """Send each prompt to the next address, and return the share of their tokens that were reused."""
    cached = 0
    with httpx.Client(timeout=60) as client:
        for index, prompt in enumerate(prompts):
            body: dict[str, Any] = {"model": "demo", "prompt": prompt, "max_tokens": 1, "temperature": 0}
            answer = client.post(urls[index % len(urls)] + "/v1/completions", json=body).raise_for_status().json()
            cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return cached / sum(map(len, prompts))
