"""The feed-forward half of a layer."""

from __future__ import annotations

import ttnn

from bitnet_tt.backends.ttnn import numerics
from bitnet_tt.backends.ttnn.bitlinear import load_linears
from bitnet_tt.backends.ttnn.device import Card
from bitnet_tt.backends.ttnn.plan import Plan
from bitnet_tt.backends.ttnn.weights import row_vector
from bitnet_tt.weights import LayerWeights

_ACTIVATIONS = {
    "relu2": [ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU), ttnn.UnaryWithParam(ttnn.UnaryOpType.SQUARE)],
    "silu": [],
}


class MLP:
    """Gate and up in one product, the activation, and down."""

    def __init__(self, layer: LayerWeights, card: Card, plan: Plan) -> None:
        self._config = plan.config
        self._gate_up = load_linears("gate_up", (layer.gate_proj, layer.up_proj), card, plan)
        self._down = load_linears("down", (layer.down_proj,), card, plan)
        self._sub_norm = None if layer.ffn_sub_norm is None else row_vector(card, layer.ffn_sub_norm)

    def __call__(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """Float32 [1, 1, rows, hidden], normed, to the same shape."""
        config, rows = self._config, x.shape[2]
        both = self._gate_up(x)
        width = config.intermediate_size
        gate = ttnn.slice(both, [0, 0, 0, 0], [1, 1, rows, width])
        up = ttnn.slice(both, [0, 0, 0, width], [1, 1, rows, 2 * width])
        if config.hidden_act == "silu":
            gate = ttnn.silu(gate)
        out = ttnn.mul(gate, up, input_tensor_a_activations=_ACTIVATIONS[config.hidden_act])
        if self._sub_norm is not None:
            out = numerics.rms_norm(out, self._sub_norm, config.rms_norm_eps)
        return self._down(out)
