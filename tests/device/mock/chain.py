"""Run a model on several cards in mock mode and print, as JSON, what each card takes and what the plan says.

python -m tests.device.mock.chain CONFIG_JSON CARDS CONTEXT_LENGTH [tensor_parallel]
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.backends.tt.planning.chain_cost import ChainCost, chain_cost
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.backends.tt.planning.tensor_cost import TensorCost, tensor_cost
from bitnet_tt.config import ModelConfig
from tests.device.mock.measure import BLOCKS_EACH, batch, dram, greedy, launches
from tests.device.mock.model import empty_model


def main(config_json: str, cards: str, context_length: str, sharing: str = "") -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    in_columns = sharing == "tensor_parallel"
    backend = TTBackend(
        config,
        empty_model(config),
        context_length=int(context_length),
        cards=int(cards),
        tensor_parallel=in_columns,
    )
    plan, shares = backend.plan, backend.shares

    def cost(sequences: int) -> ChainCost | TensorCost:
        if in_columns:
            return tensor_cost(plan, sequences, context=41)
        return chain_cost(plan, int(cards), sequences, context=41)

    facts: dict[str, Any] = {
        "description": backend.description,
        "layers": [len(share.layers) for share in shares],
        "dram_weights": [dram(card.device) for card in backend.cards],
        "planned_weights": [weight_bytes(plan, share) for share in shares],
    }
    backend.allocate(32 * BLOCKS_EACH, 32)
    facts["dram"] = [dram(card.device) for card in backend.cards]
    facts["planned"] = [
        weights + kv_cache_bytes(plan, 32 * BLOCKS_EACH, share)
        for weights, share in zip(facts["planned_weights"], shares, strict=True)
    ]
    for sequences in (1, 8, 32):
        for position in (40, 41):
            greedy(backend, batch(sequences, tokens=1, position=position))
        programs = _programs(backend)
        steps = [batch(sequences, tokens=1, position=position) for position in (42, 43, 44)]
        counts = [launches(partial(greedy, backend, step)) for step in steps]
        facts[f"decode_{sequences}"] = {
            "launches": counts,
            "planned_launches": cost(sequences).launches,
            "more_programs": _programs(backend) - programs,
        }
    backend.forward(batch(1, tokens=100, position=3))
    backend.close()
    print(json.dumps(facts))


def _programs(backend: TTBackend) -> int:
    return sum(card.device.num_program_cache_entries() for card in backend.cards)


if __name__ == "__main__":
    main(*sys.argv[1:])
