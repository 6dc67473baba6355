"""How many programs a decode step starts, and what a trace of it takes. Pure Python."""

from __future__ import annotations

from bitnet_tt.backends.ttnn.plan import DECODE_ROWS, Precision
from bitnet_tt.backends.ttnn.traces import MAX_TRACES
from bitnet_tt.config import ModelConfig

# In a layer with sub-norms, and beside the layers; what sub-norms are of it, what SiLU is more than relu2; and what is
# more of either where there are fewer sequences than rows of a tile. Mock mode counts them, and a test compares.
_LAUNCHES = {"exact": (217, 11), "fast": (87, 12)}
_OF_SUB_NORMS = 10
_OF_SILU = 1
_OF_PADDING = (3, 1)

_TRACE_BYTES_OF_A_LAUNCH = 64 << 10
"""Run-time arguments and commands of one program for some hundred cores; an estimate from above."""


def decode_launches(config: ModelConfig, precision: Precision, sequences: int) -> int:
    """Programs of a decode step of so many sequences, padding included, that brings whole rows of logits."""
    per_layer, beside = _LAUNCHES[precision]
    if not config.sub_norms:
        per_layer -= _OF_SUB_NORMS
    if config.hidden_act == "silu":
        per_layer += _OF_SILU
    if sequences < DECODE_ROWS:
        per_layer, beside = per_layer + _OF_PADDING[0], beside + _OF_PADDING[1]
    return config.num_hidden_layers * per_layer + beside


def trace_bytes(config: ModelConfig, precision: Precision) -> int:
    """DRAM to set aside for traces."""
    return MAX_TRACES * decode_launches(config, precision, 1) * _TRACE_BYTES_OF_A_LAUNCH
