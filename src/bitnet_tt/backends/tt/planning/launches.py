"""How many programs a decode step starts, and what a trace of it takes. Pure Python."""

from __future__ import annotations

from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.device.traces import MAX_TRACES
from bitnet_tt.config import ModelConfig

# In a layer, and beside the layers. Mock mode counts them, and a test compares.
_LAUNCHES = {"exact": (76, 6), "fast": (12, 6)}

_TRACE_BYTES_OF_A_LAUNCH = 64 << 10
"""Run-time arguments and commands of one program for some hundred cores; an estimate from above."""


def decode_launches(config: ModelConfig, precision: Precision) -> int:
    """Programs of a decode step that brings whole rows of logits; to find the greatest takes one more."""
    per_layer, beside = _LAUNCHES[precision]
    return config.num_hidden_layers * per_layer + beside


def trace_bytes(config: ModelConfig, precision: Precision) -> int:
    """DRAM to set aside for traces."""
    return MAX_TRACES * decode_launches(config, precision) * _TRACE_BYTES_OF_A_LAUNCH
