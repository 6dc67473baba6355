"""Requests of every kind of sampling, and the answers of one model to them."""

from __future__ import annotations

import random
from typing import Any

from bitnet_tt import BitNetModel
from tools.scale.fleet import Answer

PROMPTS = (
    "Once upon a time",
    "The little dog",
    "A red bird",
    "One day, a girl",
    "In a big forest",
    "The old man",
    "My friend Tom",
    "There was a cat",
)
SAMPLINGS: tuple[dict[str, Any], ...] = (
    {"temperature": 0.0},
    {"temperature": 0.9, "top_p": 0.95},
    {"temperature": 0.9, "top_k": 20, "repetition_penalty": 1.2},
    {"temperature": 1.2, "min_p": 0.05},
    {"temperature": 0.8, "presence_penalty": 0.7, "frequency_penalty": 0.3},
    {"temperature": 1.0, "stop": [" and then", "One day"]},
)


def random_request(numbers: random.Random, tokens: int) -> dict[str, Any]:
    """Return a request of OpenAI's completions with a random prompt, sampling and seed."""
    sampling = numbers.choice(SAMPLINGS)
    return {
        "prompt": numbers.choice(PROMPTS),
        "max_tokens": numbers.randint(tokens // 4, tokens),
        "ignore_eos": True,
        "seed": numbers.randrange(1 << 32),
    } | sampling


def answer_of(model: BitNetModel, request: dict[str, Any]) -> Answer:
    """Return what one model of this process answers."""
    options = {"max_new_tokens": request["max_tokens"]} | request
    del options["max_tokens"]
    prompt = model.tokenizer.encode(options.pop("prompt"))
    pieces = list(model.stream(prompt, **options))
    timings = pieces[-1].timings
    assert timings is not None
    usage = {"prompt_tokens": len(prompt), "completion_tokens": timings.generated_tokens}
    return Answer("".join(piece.text for piece in pieces), usage, pieces[-1].finish_reason)
