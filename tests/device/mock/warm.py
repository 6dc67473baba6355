"""Warm a model up, then generate short texts. Print how many programs were made by each."""

from __future__ import annotations

import json
import sys
from typing import Any
from unittest import mock

from bitnet_tt import BitNetModel
from bitnet_tt.server import warm_up

MAX_BATCH = 4


def main() -> None:
    model: Any = BitNetModel.from_pretrained("demo", device="tt", context_length=128, max_batch_size=MAX_BATCH)
    device, programs = model.backend.card.device, []
    with mock.patch.object(warm_up, "check_device"):  # all logits are zeros in mock mode
        warm_up.warm_up(model, MAX_BATCH)
    programs.append(device.num_program_cache_entries())
    for count in range(1, MAX_BATCH + 1):
        for temperature in (0, 0.8):
            model.generate(["Once upon a time"] * count, max_new_tokens=8, ignore_eos=True, temperature=temperature)
    programs.append(device.num_program_cache_entries())
    model.close()
    print(json.dumps({"warm_up": programs[0], "later": programs[1] - programs[0]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
