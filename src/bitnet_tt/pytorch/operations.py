"""The StableHLO operations that Tenstorrent's compiler converts, so that an export says what it would not.

The table lists the patterns of lib/Conversion/StableHLOToTTIR/StableHLOToTTIRPatterns.cpp in tt-mlir at `COMMIT`. The
names are those of StableHLO's text. A pattern may still refuse some shapes or types.
"""

from __future__ import annotations

import re
from collections import Counter

COMMIT = "19c86fca45ae7c3d8f886c0401d8b40a40d2f294"
"""The commit of github.com/tenstorrent/tt-mlir (2026-08-21)."""

CONVERTED = frozenset(
    """
    abs add all_gather all_reduce all_to_all and atan2 batch_norm_grad batch_norm_inference batch_norm_training
    bitcast_convert broadcast_in_dim cbrt ceil clamp collective_broadcast collective_permute compare concatenate
    constant convert convolution cosine custom_call divide dot_general dynamic_iota dynamic_slice exponential
    exponential_minus_one floor gather get_dimension_size iota is_finite log log_plus_one logistic maximum minimum
    multiply negate not optimization_barrier or pad power reduce reduce_scatter reduce_window remainder reshape reverse
    rng rng_bit_generator round_nearest_afz rsqrt scatter select select_and_scatter shift_left shift_right_logical sign
    sine slice sort sqrt subtract tan tanh transpose uniform_dequantize uniform_quantize xor
    """.split()  # noqa: SIM905 - a list of 74 strings is harder to read
)

_OPERATION = re.compile(r'(?:^|[\s"=])(stablehlo|chlo)\.(\w+)', re.MULTILINE)
_TERMINATOR = "return"


def count_operations(text: str) -> dict[str, int]:
    """Return how often each operation occurs in a StableHLO module, most frequent first.

    Args:
        text: The module as text. Operations of the dialect chlo keep its name: `chlo.erf`.
    """
    names = (name if dialect == "stablehlo" else f"{dialect}.{name}" for dialect, name in _OPERATION.findall(text))
    return dict(Counter(name for name in names if name != _TERMINATOR).most_common())
