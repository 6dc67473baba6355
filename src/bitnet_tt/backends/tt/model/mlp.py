"""The feed-forward half of a layer: down(norm(act(gate(x)) * up(x)))."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.bitlinear import BitLinear, load_linears
from bitnet_tt.backends.tt.model.gather import Gather
from bitnet_tt.backends.tt.ops.common.rows import IntegerProduct, Rows
from bitnet_tt.backends.tt.ops.common.strips import Strips
from bitnet_tt.backends.tt.ops.norm_quantize.op import Norm, gate, gate_and_normalize, normalize
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.weights import LayerWeights


class MLP:
    """The gate and up linears in one product, the activation with the sub-norm, and the down linear."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan, gather: Gather | None = None) -> None:
        self._activation, self._gather = plan.config.hidden_act, gather
        self._gate_up = load_linears("gate_up", layer, card, plan)
        self._down = load_linears("down", layer, card, plan)
        self._sub_norm = Norm.load(card, layer.ffn_sub_norm, plan.config.rms_norm_eps)

    @property
    def input_dtype(self) -> ttnn.DataType | None:
        """The dtype of the input rows, see `BitLinear.input_dtype`."""
        return self._gate_up.input_dtype

    def __call__(self, x: Rows) -> IntegerProduct:
        """Return the product that is added to the residual stream, [1, 1, rows, hidden].

        Args:
            x: Rows [1, 1, rows, hidden] after the layer's norm.
        """
        gate_up, dtype = self._gate_up(x), self._down.input_dtype
        if self._gather is None:
            return self._down(gate_and_normalize(gate_up, self._activation, self._sub_norm, dtype))
        gated = self._gather.gated_tiles(gate(gate_up, self._activation))
        return self._gather.product(self._down(normalize(gated, self._sub_norm, dtype)))

    def of_few_rows(self, h: Strips, norm: Norm | None) -> Strips:
        """Do the same for a few rows, with the layer's norm before it and the addition after it; return the sum."""
        assert isinstance(self._gate_up, BitLinear)
        assert isinstance(self._down, BitLinear)
        gated = self._gate_up.of_few_rows(h, norm, activation=self._activation)
        if self._gather is None:
            return self._down.of_few_rows(gated, self._sub_norm, residual=h)
        return self._gather.hidden(self._down.of_few_rows(self._gather.gated(gated), self._sub_norm, residual=h))
