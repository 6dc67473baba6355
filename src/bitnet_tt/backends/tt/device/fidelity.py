"""Settings of the matrix engine.

The engine multiplies in passes: each pass takes 7 bits of the left operand and 5 bits of the right one (LoFi is one
pass, HiFi4 is four). Sums are float32. Source: tech_reports/matrix_engine/matrix_engine.md in tt-metal.
"""

from __future__ import annotations

import ttnn

EXACT_INTEGERS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.LoFi, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=True
)
"""One pass: exact for integers of 7 bits times integers of 5 bits, so for int8 activations times ternary weights."""

HIFI4 = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.HiFi4, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=False
)
"""Four passes: the most bits of each operand that the engine can multiply."""
