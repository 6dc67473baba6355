"""The number of programs that a decode step launches, and the DRAM that its traces take."""

from __future__ import annotations

from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.config import ModelConfig

MAX_TRACES = 128
"""Maximum number of traces that are kept. 2B4T has 70 common shapes: 5 batches, 7 contexts, greedy or sampled."""

# Programs of a layer, programs beside the layers, and programs for each further card: for few rows, and for more. A
# further card sends and receives rows and token ids, and advances; many rows are also added up before they are sent.
# tests/device/test_mock.py counts the launches in ttnn's mock mode and compares them with these.
_FEW_ROWS = (5, 3, 5)
_MANY_ROWS = (14, 6, 6)

# More programs of a layer and beside the layers if two cards share every matrix: gathers, and for many rows the gate
# apart from the norm.
_FEW_ROWS_GATHERS = (4, 1)
_MANY_ROWS_GATHERS = (5, 1)

_TRACE_BYTES_PER_LAUNCH = 4 << 10  # a step of the demo model has 1,760 on a simulator of 130 cores


def decode_launches(plan: Plan, sequences: int, cards: int = 1) -> int:
    """Return the programs of a decode step of greedy texts, on all cards of a chain together.

    If the plan has some columns of the matrices, they are those of the card that has them.

    Linears with norms of their own (`use_rms_norm`) launch more; they are not counted.

    Args:
        plan: The model and the card.
        sequences: Sequences of the step.
        cards: Cards that share the layers.
    """
    many = plan.lines(sequences) is None
    layer, beside, further = _MANY_ROWS if many else _FEW_ROWS
    if plan.columns is not None:
        gathers, last = _MANY_ROWS_GATHERS if many else _FEW_ROWS_GATHERS
        layer, beside = layer + gathers, beside + last
    return plan.config.num_hidden_layers * layer + beside + (cards - 1) * further


def trace_region_bytes(config: ModelConfig, *, tensor_parallel: bool = False) -> int:
    """Return the DRAM to reserve for traces, each as large as any can be."""
    layer, beside, further = _MANY_ROWS
    gathers, last = _MANY_ROWS_GATHERS if tensor_parallel else (0, further)
    return MAX_TRACES * (config.num_hidden_layers * (layer + gathers) + beside + last) * _TRACE_BYTES_PER_LAUNCH
