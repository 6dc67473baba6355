"""Ternary models of the Llama architecture: SiLU, no sub-norms, and often a scale to divide by."""

from bitnet_tt.checkpoint.families.family import Family

LLAMA = Family(
    name="llama",
    models="Llama-style ternary (tiiuae Falcon-E and Falcon3-1.58bit, HF1BitLLM/Llama3-8B-1.58)",
    model_type="llama",
    hidden_act="silu",
    defaults={"rms_norm_eps": 1e-6},
    quantization=None,
    gguf_architecture="llama",
    gguf_rotary_pairs=True,
)
