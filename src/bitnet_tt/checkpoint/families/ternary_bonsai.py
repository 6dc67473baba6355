"""Prism ML's Ternary-Bonsai: Qwen3 with a scale for each group of ternary weights, also of the embedding and lm_head.

config.json is that of an ordinary Qwen3. So the weights tell the family, not its fields.
"""

from bitnet_tt.checkpoint.families.family import Family
from bitnet_tt.checkpoint.families.qwen3 import QWEN3

TERNARY_BONSAI = Family(
    name="ternary-bonsai",
    models="prism-ml/Ternary-Bonsai-1.7B, -4B and -8B (Q2_0 or PQ2_0 GGUF, or -unpacked)",
    model_type="qwen3",
    hidden_act="silu",
    defaults=QWEN3.defaults,
    quantization={"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"},
    gguf_architecture=None,
)
