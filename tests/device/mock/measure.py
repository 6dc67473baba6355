"""Run steps of a model in mock mode and print, as JSON, the memory, programs and launches that a card would need.

python -m tests.device.mock.measure CONFIG_JSON PRECISION CONTEXT_LENGTH
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle, repeat
from typing import Any

import numpy as np
import ttnn

from bitnet_tt.backends.base import Batch, LogitFilter
from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.backends.tt.planning.cost import decode_cost
from bitnet_tt.backends.tt.planning.memory import kv_cache_bytes, weight_bytes
from bitnet_tt.config import ModelConfig
from tests.device.mock.l1 import l1_peak
from tests.device.mock.model import empty_model

BLOCKS_EACH = 4
LATER_POSITIONS = (41, 63, 64, 127)  # within a block, at its end, in the next, and in the last one


def main(config_json: str, precision: Any, context_length: str) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    backend = TTBackend(config, empty_model(config), context_length=int(context_length), precision=precision)
    device, plan = backend.cards[0].device, backend.plan
    facts: dict[str, Any] = {"dram_weights": dram(device), "planned_weights": weight_bytes(plan)}
    backend.allocate(32 * BLOCKS_EACH, 32)
    facts["dram_cache"] = dram(device) - facts["dram_weights"]
    facts["planned_cache"] = kv_cache_bytes(plan, 32 * BLOCKS_EACH)
    for sequences in (1, 8, 32):
        step = _step(backend, cycle(batch(sequences, tokens=1, position=position) for position in range(40, 64)))
        step["planned_launches"] = decode_cost(plan, sequences, context=41).launches
        programs = device.num_program_cache_entries()
        for position in LATER_POSITIONS:
            later = batch(sequences, tokens=1, position=position)
            backend.forward(later)
            greedy(backend, later)
        step["more_programs_later"] = device.num_program_cache_entries() - programs
        facts[f"decode_{sequences}"] = step
    facts["prefill"] = _step(backend, repeat(batch(1, tokens=100, position=3)))
    backend.close()
    print(json.dumps(facts))


def _step(backend: TTBackend, batches: Iterator[Batch]) -> dict[str, Any]:
    """Run steps of a new shape. Count the programs that they make, then their launches and L1 once they are made."""
    device = backend.cards[0].device

    def whole() -> None:
        backend.forward(next(batches))

    def one() -> None:
        greedy(backend, next(batches))

    programs = device.num_program_cache_entries()
    whole()
    one()
    facts = {"programs": device.num_program_cache_entries() - programs}
    started = time.perf_counter()
    one()
    return facts | {
        "host_seconds": time.perf_counter() - started,
        "launches": launches(whole),
        "greedy_launches": launches(one),
        "l1_peak": max(l1_peak(device, backend.plan.grid, run) for run in (whole, one)),
    }


def greedy(backend: TTBackend, batch: Batch) -> None:
    backend.candidates(batch, [LogitFilter(1)] * len(batch.logit_rows))


def batch(sequences: int, tokens: int, position: int) -> Batch:
    starts = np.arange(sequences + 1, dtype=np.int32) * tokens
    return Batch(
        token_ids=np.zeros(sequences * tokens, np.int32),
        starts=starts,
        positions=np.full(sequences, position, np.int32),
        block_tables=np.arange(sequences * BLOCKS_EACH, dtype=np.int32).reshape(sequences, BLOCKS_EACH),
        logit_rows=starts[1:] - 1,
    )


def launches(run: Callable[[], object]) -> int:
    """Count the programs that the device is told to run."""
    graph = ttnn._ttnn.graph  # the Python layer over it needs torch
    graph.begin_graph_capture(graph.RunMode.NORMAL)
    run()
    return sum(node["node_type"] == "program_execution" for node in graph.end_graph_capture())


def dram(device: object) -> int:
    view = ttnn.get_memory_view(device, ttnn.BufferType.DRAM)
    return int(view.num_banks * view.total_bytes_allocated_per_bank)


if __name__ == "__main__":
    main(*sys.argv[1:])
