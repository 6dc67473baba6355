"""Generate greedy texts in mock mode. Print the number of steps, and how often which of them copy to the device."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bitnet_tt import BitNetModel
from bitnet_tt.config import GenerationConfig
from bitnet_tt.engine.channel import ThreadChannel
from bitnet_tt.engine.request import Request
from bitnet_tt.engine.step import Stepper
from tests.device.greedy import counted_copies

PROMPTS = ([1, 2, 3, 4], [5, 6, 7, 8])
NEW_TOKENS = 65  # the first one comes from the prompt, the others from decode steps


def main() -> None:
    model: Any = BitNetModel.from_pretrained("demo", device="tt", context_length=128)
    backend, copied = model.backend, []

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*arguments: Any) -> Any:
            with counted_copies() as copies:
                result = call(*arguments)
            if result is not None:
                copied.append(len(copies))
            return result

        return count

    backend.start, backend.candidates = counting(backend.start), counting(backend.candidates)
    stepper = Stepper(backend, context_length=128)
    for prompt in PROMPTS:
        stepper.add(Request(prompt, GenerationConfig(max_new_tokens=NEW_TOKENS), ThreadChannel()))
    while stepper.busy:
        stepper.step()
    model.close()
    print(json.dumps({"steps": len(copied), "copies": [[step, count] for step, count in enumerate(copied) if count]}))


if __name__ == "__main__":
    main()
