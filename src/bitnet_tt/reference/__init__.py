"""The numerics contract in NumPy: what every backend computes, readable from top to bottom. The oracle of the tests."""

from bitnet_tt.reference.bitlinear import bitlinear, quantize_activations, quantize_weights, unpack_ternary
from bitnet_tt.reference.decoder import KVCache, forward, rms_norm
from bitnet_tt.reference.rope import rope_tables

__all__ = [
    "KVCache",
    "bitlinear",
    "forward",
    "quantize_activations",
    "quantize_weights",
    "rms_norm",
    "rope_tables",
    "unpack_ternary",
]
