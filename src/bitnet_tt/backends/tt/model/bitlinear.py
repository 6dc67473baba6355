"""BitLinear on the matrix engine: the exact integer product, then the scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import ttnn

from bitnet_tt.backends.tt.device import fidelity as numerics
from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import ternary_tiles
from bitnet_tt.backends.tt.ops.norm_quantize import op as rows
from bitnet_tt.backends.tt.ops.norm_quantize.op import IntegerProduct, Norm, Quantized, Rows
from bitnet_tt.backends.tt.planning.plan import Grid, Plan, Product
from bitnet_tt.weights import TernaryMatrix


class BitLinear:
    """Linears that read the same input, as one product [in, out of all].

    Weights lie in DRAM as -1, 0, 1 in bfp4 tiles; their scales, which bfp4 would round, are applied to the product.
    """

    input_dtype: ClassVar[ttnn.DataType | None] = None
    """What `rows` is to make the input of."""

    def __init__(self, name: str, matrices: Sequence[TernaryMatrix], card: Card, plan: Plan) -> None:
        self._name = name
        self._plan = plan
        self._weights = ternary_tiles(card, matrices)
        self.scales = tuple(float(matrix.scale / np.float32(numerics.QUANTIZER_MAX)) for matrix in matrices)

    def __call__(self, x: Rows) -> IntegerProduct:
        """Multiply quantised rows, integers [1, 1, rows, in]."""
        assert isinstance(x, Quantized)
        _, _, width, height = self._weights.shape
        product = self._plan.linear(self._name, x.integers.shape[2], width, height)
        sums = multiply(x.integers, self._weights, product, self._plan.grid, numerics.EXACT_INTEGERS)
        return IntegerProduct(sums, x.largest, self.scales)


class NormedLinears:
    """Linears each with an RMSNorm of its own before the quantiser (`use_rms_norm`), their outputs side by side."""

    input_dtype: ClassVar[ttnn.DataType | None] = ttnn.float32

    def __init__(self, name: str, matrices: Sequence[TernaryMatrix], card: Card, plan: Plan) -> None:
        eps = plan.config.quantization.rms_norm_eps
        self._parts = [
            (Norm.load(card, matrix.input_norm, eps), BitLinear(name, [matrix], card, plan))
            for matrix in matrices
            if matrix.input_norm is not None
        ]
        self.scales = (1.0,) * len(matrices)

    def __call__(self, x: Rows) -> IntegerProduct:
        """Norm, quantise and multiply rows float32 [1, 1, rows, in]."""
        outputs = []
        for norm, linear in self._parts:
            product = linear(rows.normalize(x, norm, linear.input_dtype))
            outputs.append(ttnn.mul(ttnn.mul(product.sums, product.largest), *product.scales))
        return IntegerProduct(outputs[0] if len(outputs) == 1 else ttnn.concat(outputs, dim=-1), None, self.scales)


def load_linears(name: str, matrices: Sequence[TernaryMatrix], card: Card, plan: Plan) -> BitLinear | NormedLinears:
    """Put linears that read the same input on the card.

    Args:
        name: What the plan calls their product.
        matrices: All with an input norm or all without.
        card: Where to.
        plan: How.
    """
    kind = BitLinear if all(matrix.input_norm is None for matrix in matrices) else NormedLinears
    return kind(name, matrices, card, plan)


def multiply(
    x: ttnn.Tensor,
    weights: ttnn.Tensor,
    product: Product,
    grid: Grid,
    numerics_config: object,
    memory: ttnn.MemoryConfig | None = None,
) -> ttnn.Tensor:
    """A matrix product to float32, shared among the cores as planned: weights are read once, x is multicast.

    It lies where x lies, unless told otherwise.
    """
    return ttnn.matmul(
        x,
        weights,
        dtype=ttnn.float32,
        memory_config=memory or x.memory_config(),
        compute_kernel_config=numerics_config,
        program_config=ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(
            compute_with_storage_grid_size=ttnn.CoreCoord(grid.x, grid.y),
            in0_block_w=product.k_block,
            out_subblock_h=product.subblock[0],
            out_subblock_w=product.subblock[1],
            per_core_M=product.rows,
            per_core_N=product.per_core_n,
            fuse_batch=True,
            mcast_in0=True,
        ),
    )
