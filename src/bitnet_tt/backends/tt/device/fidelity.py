"""Settings of the matrix engine and of reductions."""

from __future__ import annotations

import ttnn

LAST = {"dim": -1, "keepdim": True}
QUANTIZER_MAX = 127.0

EXACT_INTEGERS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.LoFi, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=True
)
"""One pass multiplies 7 bits of in0 by 5 of in1: all of an int8 activation and a ternary weight. Sums need float32."""

MOST_BITS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.HiFi4, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=False
)
