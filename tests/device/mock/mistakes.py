"""Make mistakes that the host must refuse, one by one, and print the names of those that it accepted."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import ttnn

from bitnet_tt.backends.base import NEXT, Batch
from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.backends.tt.device.mesh import open_cards
from bitnet_tt.backends.tt.model.bitlinear import multiply
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import DeviceError, RequestError
from tests.device.mock.model import empty_model


def main(config_json: str) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    backend = TTBackend(config, empty_model(config), context_length=64)
    card, plan = backend.cards[0], backend.plan
    good = Batch(
        token_ids=np.zeros(3, np.int32),
        starts=np.array([0, 3], np.int32),
        positions=np.array([30], np.int32),
        block_tables=np.array([[0, 1]], np.int32),
        logit_rows=np.array([2], np.int32),
    )
    x = card.tiles(np.zeros((1, 1, 32, 64), np.float32), ttnn.bfloat16)
    weights = card.tiles(np.zeros((1, 1, 64, 64), np.float32), ttnn.bfloat4_b)
    product = plan.linear("test", 32, 64, 64)
    backend.allocate(2, 32)
    backend.forward(good)
    multiply(x, weights, product, plan.grid)
    mistakes = {
        "a second opening": (DeviceError, open_cards),
        "blocks of another size": (DeviceError, lambda: backend.allocate(4, 16)),
        "a cache larger than the card": (DeviceError, lambda: backend.allocate(1 << 30, 32)),
        "an id outside the vocabulary": (
            RequestError,
            lambda: backend.forward(replace(good, token_ids=np.full(3, config.vocab_size, np.int32))),
        ),
        "a position beyond the context": (
            RequestError,
            lambda: backend.forward(replace(good, positions=np.array([62], np.int32))),
        ),
        "a block that is not there": (
            ValueError,
            lambda: backend.forward(replace(good, block_tables=np.array([[0, 2]], np.int32))),
        ),
        "a table that is too short": (
            ValueError,
            lambda: backend.forward(replace(good, block_tables=np.array([[0, -1]], np.int32))),
        ),
        "a token that no step has found": (
            ValueError,
            lambda: backend.start(
                replace(
                    good,
                    token_ids=np.array([NEXT], np.int32),
                    starts=np.array([0, 1], np.int32),
                    logit_rows=np.array([0], np.int32),
                )
            ),
        ),
        "operands that do not fit": (
            RuntimeError,
            lambda: multiply(weights, x, product, plan.grid),
        ),
        "blocks of columns that do not divide": (
            RuntimeError,
            lambda: multiply(x, weights, replace(product, k_block=3), plan.grid),
        ),
        "an operand that is not in tiles": (
            RuntimeError,
            lambda: multiply(
                card.rows(np.zeros((1, 1, 32, 64), np.float32), ttnn.float32),
                weights,
                product,
                plan.grid,
            ),
        ),
        "a tensor larger than DRAM": (
            RuntimeError,
            lambda: ttnn.empty(
                [1, 1, 1 << 17, 1 << 17], dtype=ttnn.float32, layout=ttnn.TILE_LAYOUT, device=card.device
            ),
        ),
        "buffers larger than L1": (
            RuntimeError,
            lambda: (
                card.zeros([1, 1, 32, 64], ttnn.float32)
                and ttnn.zeros(
                    [1, 1, plan.grid.l1_bytes, plan.grid.cores],
                    dtype=ttnn.float32,
                    layout=ttnn.TILE_LAYOUT,
                    device=card.device,
                    memory_config=ttnn.L1_MEMORY_CONFIG,
                )
            ),
        ),
    }
    missed = []
    for name, (error, make) in mistakes.items():
        try:
            make()
        except error:
            continue
        except Exception as other:
            name += f" (raised {other!r:.200})"
        missed.append(name)
    backend.close()
    backend.close()
    for name, call in {
        "a step": lambda: backend.forward(good),
        "a step ahead": lambda: backend.start(good),
        "allocate": lambda: backend.allocate(2, 32),
        "stats": backend.stats,
        "description": lambda: backend.description,
        "a profile": backend.start_profile,
    }.items():
        try:
            call()
            missed.append(f"{name} after the end")
        except DeviceError:
            pass
    print(json.dumps(missed))


if __name__ == "__main__":
    main(*sys.argv[1:])
