"""Ternary models of the Qwen3 architecture: SiLU, and an RMSNorm of each head of the queries and keys."""

from bitnet_tt.checkpoint.families.family import Family

QWEN3 = Family(
    name="qwen3",
    models="Qwen3-style ternary with one scale a matrix (codys12/Qwen3-8B-BitNet)",
    model_type="qwen3",
    hidden_act="silu",
    defaults={"rms_norm_eps": 1e-6, "head_dim": 128},
    quantization=None,
    gguf_architecture="qwen3",
    gguf_input_norms=True,
)
