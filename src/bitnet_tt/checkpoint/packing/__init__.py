"""How files store ternary weights: the canonical layout, ggml's layouts, and conversions between them."""

from bitnet_tt.checkpoint.packing.canonical import pack, unpack
from bitnet_tt.checkpoint.packing.ggml import (
    I2_S_BLOCK,
    TQ_BLOCK,
    codes_to_tq2_0,
    i2_s_to_packed,
    packed_to_i2_s,
    tq1_0_to_codes,
    tq2_0_to_codes,
)

__all__ = [
    "I2_S_BLOCK",
    "TQ_BLOCK",
    "codes_to_tq2_0",
    "i2_s_to_packed",
    "pack",
    "packed_to_i2_s",
    "tq1_0_to_codes",
    "tq2_0_to_codes",
    "unpack",
]
