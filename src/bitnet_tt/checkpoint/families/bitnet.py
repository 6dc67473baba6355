"""Microsoft's BitNet b1.58: squared ReLU and sub-norms."""

from bitnet_tt.checkpoint.families.family import Family

BITNET = Family(
    name="bitnet",
    models="microsoft/bitnet-b1.58-2B-4T, -bf16 and -gguf",
    model_type="bitnet",
    hidden_act="relu2",
    defaults={"rope_theta": 500000.0},
    gguf_architecture="bitnet-b1.58",
    gguf_aliases=("bitnet-25", "bitnet"),
)
