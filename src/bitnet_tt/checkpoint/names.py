"""Canonical tensor names: those of microsoft/bitnet-b1.58-2B-4T on Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from bitnet_tt.config import ModelConfig
from bitnet_tt.weights import LinearWeights, ModelWeights

EMBEDDING = "model.embed_tokens.weight"
FINAL_NORM = "model.norm.weight"
LM_HEAD = "lm_head.weight"


def layer_prefix(layer: int | str) -> str:
    """Return the beginning of the names of a layer's tensors."""
    return f"model.layers.{layer}."


def linear_path(name: str) -> str:
    """Return the path of a linear within its layer, such as `self_attn.q_proj`."""
    return f"self_attn.{name}" if name in ("q_proj", "k_proj", "v_proj", "o_proj") else f"mlp.{name}"


def norm_path(name: str) -> str:
    """Return the path of a norm within its layer, such as `self_attn.attn_sub_norm`."""
    if name in ("attn_sub_norm", "q_norm", "k_norm"):
        return f"self_attn.{name}"
    return "mlp.ffn_sub_norm" if name == "ffn_sub_norm" else name


def input_norm_name(linear: str) -> str:
    """Return the name of the RMSNorm before the quantiser of a linear, from the linear's path."""
    return linear + ".rms_norm.weight"


def named_weights(config: ModelConfig, weights: ModelWeights) -> Iterator[tuple[str, LinearWeights | NDArray[Any]]]:
    """Yield every part of a model with its canonical name.

    Yields:
        An array or a ternary table with the name of its tensor (`model.norm.weight`), or a ternary matrix with the path
        of its linear (`model.layers.0.self_attn.q_proj`). A tied lm_head is left out.
    """
    yield EMBEDDING, weights.embed_tokens
    for index, layer in enumerate(weights.layers):
        prefix = layer_prefix(index)
        for linear in config.linear_shapes:
            yield prefix + linear_path(linear), layer.linear(linear)
        for norm in config.norm_sizes:
            yield f"{prefix}{norm_path(norm)}.weight", getattr(layer, norm)
    yield FINAL_NORM, weights.norm
    if not config.tie_word_embeddings:
        yield LM_HEAD, weights.lm_head
