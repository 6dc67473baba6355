"""The numerics contract (docs/numerics.md) in NumPy: the oracle of the tests and of `bitnet-tt self-test`.

Read it to learn what a BitNet model computes: `decoder` is the model, `bitlinear` its linear layer, `rope` its rotary
positions. It is written to be read, not to be fast.

It shares no code with what it judges. From the rest of the package it imports `config`, and from `weights` the data
classes and the exact conversion from bfloat16. It unpacks ternary weights and computes rotary tables on its own.
"""

from bitnet_tt.reference.bitlinear import (
    bitlinear,
    float_linear,
    grouped_bitlinear,
    quantize_activations,
    quantize_weights,
    unpack_groups,
    unpack_ternary,
    widen_groups,
)
from bitnet_tt.reference.decoder import KVCache, forward

__all__ = [
    "KVCache",
    "bitlinear",
    "float_linear",
    "forward",
    "grouped_bitlinear",
    "quantize_activations",
    "quantize_weights",
    "unpack_groups",
    "unpack_ternary",
    "widen_groups",
]
