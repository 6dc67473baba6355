"""How many programs a decode step starts, and what a trace of it takes. Pure Python."""

from __future__ import annotations

from bitnet_tt.backends.ttnn.plan import DECODE_ROWS, Precision
from bitnet_tt.backends.ttnn.traces import MAX_TRACES
from bitnet_tt.config import ModelConfig

# In a layer, and beside the layers. Mock mode counts them, and a test compares.
_LAUNCHES = {"exact": (146, 6), "fast": (12, 6)}

_TRACE_BYTES_OF_A_LAUNCH = 64 << 10
"""Run-time arguments and commands of one program for some hundred cores; an estimate from above."""


def decode_launches(config: ModelConfig, precision: Precision, sequences: int) -> int:
    """Programs of a decode step of so many sequences, padding included, that brings whole rows of logits."""
    per_layer, beside = _LAUNCHES[precision]
    # Padding is cut off the logits.
    return config.num_hidden_layers * per_layer + beside + (sequences < DECODE_ROWS)


def trace_bytes(config: ModelConfig, precision: Precision) -> int:
    """DRAM to set aside for traces."""
    return MAX_TRACES * decode_launches(config, precision, 1) * _TRACE_BYTES_OF_A_LAUNCH
