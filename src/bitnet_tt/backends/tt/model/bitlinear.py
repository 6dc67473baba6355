"""BitLinear on the matrix engine: an exact integer product; its scales are applied afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.weights import load_ternary
from bitnet_tt.backends.tt.ops.bit_linear.op import bit_linear
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct, Quantized, Rows
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.expand_weights.op import expand_weights
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, normalize
from bitnet_tt.backends.tt.planning.grid import Grid
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.backends.tt.planning.products import FUSED_LINEARS, Product
from bitnet_tt.weights import LayerWeights, TernaryMatrix, with_one_scale

_EXACT_INTEGERS = ttnn.WormholeComputeKernelConfig(
    math_fidelity=ttnn.MathFidelity.LoFi, math_approx_mode=False, fp32_dest_acc_en=True, packer_l1_acc=True
)
"""One pass of the matrix engine: exact for integers of 7 bits times integers of 5 bits, so for int8 times ternary.

A pass takes 7 bits of the left operand and 5 bits of the right one; sums are float32. Source:
tech_reports/matrix_engine/matrix_engine.md in tt-metal.
"""


class BitLinear:
    """Linears that read the same input, as one product [in, sum of all out].

    The weights are on the card as codes of 2 bits, without their scales, which are applied to the product.
    """

    input_dtype: ClassVar[ttnn.DataType | None] = None
    """The dtype of the input rows; None for rows that are quantised, see `normalize`."""

    def __init__(
        self,
        name: str,
        matrices: Sequence[TernaryMatrix],
        card: Card,
        plan: Plan,
        outputs: Sequence[range] | None = None,
    ) -> None:
        """Put the matrices on the card.

        Args:
            name: The product, a key of `FUSED_LINEARS`.
            matrices: Its matrices, or one of them.
            card: The card.
            plan: The shapes.
            outputs: For each matrix, the outputs that the card computes. None means all.
        """
        self._name = name
        self._plan = plan
        gated = name == "gate_up" and len(matrices) == 2
        outputs = outputs or [range(matrix.out_features) for matrix in matrices]
        shape = matrices[0].in_features, sum(map(len, outputs))
        self._weights = load_ternary(card, matrices, plan.streams(*shape, gated=gated), outputs)

    @property
    def scales(self) -> tuple[float, ...]:
        """For each matrix, weight scale / 127."""
        return self._weights.scales

    def __call__(self, x: Rows) -> IntegerProduct:
        """Multiply quantised rows, integers [1, 1, rows, in], by the weights: for many rows."""
        assert isinstance(x, Quantized)
        weights = expand_weights(self._weights)
        _, _, in_features, out_features = weights.shape
        product = self._plan.linear(self._name, x.integers.shape[2], in_features, out_features)
        sums = multiply(x.integers, weights, product, self._plan.grid)
        return IntegerProduct(sums, x.largest, self.scales)

    def of_few_rows(
        self, x: Strips, norm: Norm | None, *, residual: Strips | None = None, activation: str | None = None
    ) -> Strips:
        """Norm, quantise and multiply a few rows, and do what follows; see `bit_linear`."""
        return bit_linear(
            x,
            norm,
            self._weights,
            residual=residual,
            residual_begin=self._plan.own.hidden.start,
            activation=activation,
        )


class NormedLinears:
    """Linears with an RMSNorm of their own before the quantiser (`use_rms_norm`), their outputs side by side.

    Attributes:
        scales: 1 for each matrix: the outputs are scaled already.
    """

    input_dtype: ClassVar[ttnn.DataType | None] = ttnn.float32
    """The dtype of the input rows: float32, since each linear quantises them after its own norm."""

    def __init__(self, name: str, matrices: Sequence[TernaryMatrix], card: Card, plan: Plan) -> None:
        eps = plan.config.quantization.rms_norm_eps
        self._parts = [
            (Norm.load(card, matrix.input_norm, eps), BitLinear(name, [matrix], card, plan))
            for matrix in matrices
            if matrix.input_norm is not None
        ]
        self.scales = (1.0,) * len(matrices)

    def __call__(self, x: Rows) -> IntegerProduct:
        """Norm, quantise and multiply rows, float32 [1, 1, rows, in]."""
        outputs = []
        for norm, linear in self._parts:
            product = linear(normalize(x, norm, linear.input_dtype))
            outputs.append(ttnn.mul(ttnn.mul(product.sums, product.largest), *product.scales))
        return IntegerProduct(outputs[0] if len(outputs) == 1 else ttnn.concat(outputs, dim=-1), None, self.scales)


def load_linears(name: str, layer: LayerWeights, card: Card, plan: Plan) -> BitLinear | NormedLinears:
    """Put the linears of one of a layer's products on the card, or the columns of them that the card has.

    Args:
        name: The product, a key of `FUSED_LINEARS`. Its linears all have an input norm, or none has.
        layer: The layer's weights.
        card: The card.
        plan: The shapes.
    """
    matrices = [with_one_scale(layer.linear(linear)) for linear in FUSED_LINEARS[name]]
    if any(matrix.input_norm is not None for matrix in matrices):
        return NormedLinears(name, matrices, card, plan)
    return BitLinear(name, matrices, card, plan, [plan.own.of(linear) for linear in FUSED_LINEARS[name]])


def multiply(x: ttnn.Tensor, weights: ttnn.Tensor, product: Product, grid: Grid) -> ttnn.Tensor:
    """Multiply integers by ternary weights, exactly.

    The cores share the product as planned: weights are read once, x is multicast.

    Args:
        x: Integers in bfloat16 [1, 1, rows, k].
        weights: Weights in bfp4 [1, 1, k, n].
        product: How the cores share the product.
        grid: The cores.

    Returns:
        float32 [1, 1, rows, n], in the memory of x.
    """
    return ttnn.matmul(
        x,
        weights,
        dtype=ttnn.float32,
        memory_config=x.memory_config(),
        compute_kernel_config=_EXACT_INTEGERS,
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
