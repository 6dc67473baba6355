"""Microsoft's BitNet embedding models: Qwen3 with an RMSNorm before each linear, master weights."""

from bitnet_tt.checkpoint.families.family import MASTER_WEIGHTS, Family
from bitnet_tt.checkpoint.families.qwen3 import QWEN3

BITNET_EMBEDDING = Family(
    name="bitnet-embedding",
    models="microsoft/bitnet-embedding-0.6b",
    model_type="qwen3",
    hidden_act="silu",
    defaults=QWEN3.defaults,
    quantization={**MASTER_WEIGHTS, "use_rms_norm": True, "rms_norm_eps": 1e-6},
    pooling="last",
    marker=".q_proj.norm.",
    marked_type="qwen3",
    renames={"_proj.norm.": "_proj.rms_norm."},
    gguf_architecture=None,
)
