"""Warm a model up, then generate texts of all kinds. Print how many programs were made by each, as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest import mock

from bitnet_tt import BitNetModel
from bitnet_tt.server import warm_up

MAX_BATCH, CONTEXT = 9, 256
SETTINGS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.8, "top_p": 0.9},
    {"temperature": 0.8, "top_k": 20},
    {"temperature": 0.0, "repetition_penalty": 1.1},
    {"temperature": 0.0, "logprobs": 2},
]


def main() -> None:
    model: Any = BitNetModel.from_pretrained("demo", device="tt", context_length=CONTEXT, max_batch_size=MAX_BATCH)
    device, programs = model.backend.cards[0].device, []
    with mock.patch.object(warm_up, "check_device"):  # all logits are zeros in mock mode
        warm_up.warm_up(model, MAX_BATCH)
    programs.append(device.num_program_cache_entries())
    for count in (1, 5, MAX_BATCH):
        for length in (1, 40, 200):
            for setting in SETTINGS:
                prompts = [[1 + index] * length for index in range(count)]
                model.generate(prompts, max_new_tokens=3, ignore_eos=True, **setting)
    model.perplexity("Once upon a time, there was a little fox. " * 12)
    programs.append(device.num_program_cache_entries())
    model.close()
    print(json.dumps({"warm_up": programs[0], "later": programs[1] - programs[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
