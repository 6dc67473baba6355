"""The float parts of the numerics contract in TT-NN operations: float32 throughout, composed rather than fused.

The fused forms round to about ten bits, after which the quantiser differs from the reference's in many integers.
"""

from __future__ import annotations

import ttnn

LAST = {"dim": -1, "keepdim": True}
QUANTIZER_FLOOR = 1e-5
QUANTIZER_MAX = 127.0

EXACT_INTEGERS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.LoFi, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=True
)
"""One pass multiplies 7 bits of in0 by 5 of in1: all of an int8 activation and a ternary weight. Sums need float32."""

MOST_BITS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.HiFi4, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=False
)

_ROUND = ttnn.UnaryWithParam(ttnn.UnaryOpType.ROUND, 0)
_RSQRT = ttnn.UnaryWithParam(ttnn.UnaryOpType.RSQRT, 0)


def rms_norm(x: ttnn.Tensor, gain: ttnn.Tensor, eps: float) -> ttnn.Tensor:
    """RMSNorm over the last axis.

    Args:
        x: float32 [1, 1, rows, features].
        gain: float32 [1, 1, 1, features].
        eps: What is added to the mean square.
    """
    inverse = ttnn.add(ttnn.mean(ttnn.square(x), **LAST), eps, activations=[_RSQRT])
    return ttnn.mul(ttnn.mul(x, inverse), gain)


def quantize(x: ttnn.Tensor) -> tuple[ttnn.Tensor, ttnn.Tensor]:
    """Absmax quantisation of each row.

    Args:
        x: float32 [1, 1, rows, features].

    Returns:
        Integers from -127 to 127 as bfloat16, which holds them exactly, in x's shape; and max|x|, at least 1e-5, as
        float32 [1, 1, rows, 1].
    """
    largest = ttnn.maximum(ttnn.max(ttnn.abs(x), **LAST), QUANTIZER_FLOOR)
    scale = ttnn.mul(ttnn.reciprocal(largest), QUANTIZER_MAX)
    return ttnn.mul(x, scale, activations=[_ROUND], dtype=ttnn.bfloat16), largest


def rotate(x: ttnn.Tensor, cos: ttnn.Tensor, signed_sin: ttnn.Tensor) -> ttnn.Tensor:
    """Rotary positions in the half-split form.

    Args:
        x: float32 [1, heads, rows, head_dim].
        cos: float32 [1, 1, rows, head_dim], angles twice over.
        signed_sin: Likewise, the first half negated.
    """
    _, heads, rows, width = x.shape
    first = ttnn.slice(x, [0, 0, 0, 0], [1, heads, rows, width // 2])
    second = ttnn.slice(x, [0, 0, 0, width // 2], [1, heads, rows, width])
    return ttnn.add(ttnn.mul(x, cos), ttnn.mul(ttnn.concat([second, first], dim=-1), signed_sin))
