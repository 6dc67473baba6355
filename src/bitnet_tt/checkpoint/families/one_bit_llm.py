"""1bitLLM's reproductions of BitNet b1.58: SiLU, sub-norms under other names, master weights in float32.

Some of their config.json files have the model_type `llama`. Only the names of the sub-norms tell them from Llama.
"""

from bitnet_tt.checkpoint.families.family import Family

ONE_BIT_LLM = Family(
    name="1bitllm",
    models="1bitLLM/bitnet_b1_58-large, -xl and -3B",
    model_type="bitnet",
    hidden_act="silu",
    marker=".inner_attn_ln.",
    renames={".inner_attn_ln.": ".attn_sub_norm.", ".ffn_layernorm.": ".ffn_sub_norm."},
    gguf_architecture="bitnet",
)
