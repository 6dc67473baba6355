"""The feed-forward half of a layer."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.model.bitlinear import load_linears
from bitnet_tt.backends.tt.ops.norm_quantize import op as rows
from bitnet_tt.backends.tt.ops.norm_quantize.op import IntegerProduct, Norm, Rows
from bitnet_tt.backends.tt.planning.plan import Plan
from bitnet_tt.weights import LayerWeights


class MLP:
    """Gate and up in one product, the activation, and down."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan) -> None:
        self._config = plan.config
        self._gate_up = load_linears("gate_up", (layer.gate_proj, layer.up_proj), card, plan)
        self._down = load_linears("down", (layer.down_proj,), card, plan)
        self._sub_norm = Norm.load(card, layer.ffn_sub_norm, plan.config.rms_norm_eps)

    @property
    def input_dtype(self) -> ttnn.DataType | None:
        """See `BitLinear.input_dtype`."""
        return self._gate_up.input_dtype

    def __call__(self, x: Rows) -> IntegerProduct:
        """From rows [1, 1, rows, hidden], normed, to what is to be added to the residual stream."""
        gate_up = self._gate_up(x)
        dtype = self._down.input_dtype
        return self._down(rows.gate_and_normalize(gate_up, self._config.hidden_act, self._sub_norm, dtype))
