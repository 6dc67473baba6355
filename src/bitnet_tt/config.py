"""ModelConfig: the shape of a model, from config.json, with every default and every check.

`GenerationConfig` and `GenerationOptions` can be imported from here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from bitnet_tt.checks import is_int, positive_float, require
from bitnet_tt.errors import ConfigError
from bitnet_tt.generation_config import GenerationConfig, GenerationOptions
from bitnet_tt.rope_settings import RopeScaling, rope_settings

__all__ = ["LINEAR_NAMES", "GenerationConfig", "GenerationOptions", "ModelConfig", "QuantizationConfig"]

LINEAR_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The seven linears of a layer, in the order in which it applies them."""

HiddenAct = Literal["relu2", "silu"]
LinearClass = Literal["bitlinear", "autobitlinear"]
QuantizationMode = Literal["offline", "online"]

_MAX_DIMENSION = 1 << 24
"""A larger size means a damaged file. The limit keeps a product of two sizes far below 2**63."""


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """`quantization_config` of a BitNet checkpoint: how its linear weights are stored.

    Attributes:
        linear_class: The meaning of `weight_scale`. `autobitlinear`: mean|W|, to multiply by. `bitlinear`:
            1 / mean|W|, to divide by.
        quantization_mode: `offline` stores packed ternary weights, `online` the bf16 or fp32 master weights.
        use_rms_norm: Whether each linear has an RMSNorm of its own before its activations are quantised.
        rms_norm_eps: The epsilon of those norms.
        group_size: Columns of a row that share a scale (64 or 128), by which activations are quantised too. None if a
            matrix has one scale. No config.json gives it: the reader finds it in the weights.
        ternary_embedding: Whether the embedding is ternary too, with a scale for each group.
        ternary_head: The same of the lm_head.
    """

    linear_class: LinearClass = "bitlinear"
    quantization_mode: QuantizationMode = "offline"
    use_rms_norm: bool = False
    rms_norm_eps: float = 1e-6
    group_size: int | None = None
    ternary_embedding: bool = False
    ternary_head: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read and check `quantization_config`.

        Raises:
            ConfigError: The quantisation method or another value is not one that this package knows.
        """
        where = "quantization_config."
        data = {name: value for name, value in data.items() if value is not None}
        method = data.get("quant_method", "bitnet")
        if method != "bitnet":
            raise ConfigError(f"{where}quant_method is {method!r}; only 'bitnet' checkpoints are supported")
        config = cls(
            linear_class=data.get("linear_class", "bitlinear"),
            quantization_mode=data.get("quantization_mode", "offline"),
            use_rms_norm=_flag(data, "use_rms_norm", default=False, where=where),
            rms_norm_eps=positive_float(data, "rms_norm_eps", default=1e-6, where=where),
        )
        _one_of(where + "linear_class", config.linear_class, ("bitlinear", "autobitlinear"))
        _one_of(where + "quantization_mode", config.quantization_mode, ("offline", "online"))
        return config


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a BitNet b1.58 decoder, in the names of Hugging Face's config.json.

    Attributes:
        rope_scaling: How rotary positions are scaled for long texts; None if they are not.
        sub_norms: Whether layers have `attn_sub_norm` and `ffn_sub_norm`: only in the BitNet architecture.
        qk_norms: Whether layers have `q_norm` and `k_norm`, RMSNorms of each head of the queries and keys: only in the
            Qwen3 architecture.
        eos_token_ids: Ids that end a text. generation_config.json may add more.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    hidden_act: HiddenAct
    sub_norms: bool
    tie_word_embeddings: bool
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
    quantization: QuantizationConfig = field(default_factory=QuantizationConfig)
    rope_scaling: RopeScaling | None = None
    qk_norms: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read and check the fields of a config.json.

        Raises:
            ConfigError: A field is missing, has the wrong type, or is out of range; the message names it.
        """
        if not isinstance(data, Mapping):
            raise ConfigError("config.json must hold a JSON object")
        model_type = data.get("model_type")
        if not isinstance(model_type, str):
            raise ConfigError("model_type is missing; this is not a Hugging Face model config")
        hidden_size = _dimension(data, "hidden_size")
        heads = _dimension(data, "num_attention_heads")
        head_dim = data.get("head_dim")
        if head_dim is None:
            if hidden_size % heads:
                raise ConfigError(
                    f"hidden_size ({hidden_size}) is not divisible by num_attention_heads ({heads}), "
                    "and head_dim is not given"
                )
            head_dim = hidden_size // heads
        quantization = data.get("quantization_config") or {}
        if not isinstance(quantization, Mapping):
            raise ConfigError("quantization_config must be an object")
        rope_theta, rope_scaling = rope_settings(data)
        config = cls(
            model_type=model_type,
            vocab_size=_dimension(data, "vocab_size"),
            hidden_size=hidden_size,
            intermediate_size=_dimension(data, "intermediate_size"),
            num_hidden_layers=_dimension(data, "num_hidden_layers"),
            num_attention_heads=heads,
            num_key_value_heads=_dimension(data, "num_key_value_heads", default=heads),
            head_dim=_dimension({"head_dim": head_dim}, "head_dim"),
            max_position_embeddings=_dimension(data, "max_position_embeddings"),
            rms_norm_eps=positive_float(data, "rms_norm_eps", default=1e-5),
            rope_theta=rope_theta,
            hidden_act=data.get("hidden_act", "silu"),
            sub_norms="bitnet" in model_type,
            tie_word_embeddings=_flag(data, "tie_word_embeddings", default=False),
            bos_token_id=_token_id(data, "bos_token_id"),
            eos_token_ids=_token_ids(data, "eos_token_id"),
            quantization=QuantizationConfig.from_dict(quantization),
            rope_scaling=rope_scaling,
            qk_norms=model_type == "qwen3",
        )
        config._check(data)
        return config

    def _check(self, data: Mapping[str, Any]) -> None:
        _one_of("hidden_act", self.hidden_act, ("relu2", "silu"))
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads ({self.num_attention_heads}) is not divisible by "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim ({self.head_dim}) must be even for rotary positions")
        for name, size in (
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads * head_dim", self.query_features),
            ("num_key_value_heads * head_dim", self.kv_features),
        ):
            if size % 4:
                raise ConfigError(f"{name} ({size}) must be divisible by 4: ternary weights are packed four to a byte")
        for name in ("attention_bias", "mlp_bias"):
            if _flag(data, name, default=False):
                raise ConfigError(f"{name} is true; BitNet linears have no biases")
        if data.get("input_bits") not in (None, 8):  # in the configs of 1bitLLM
            raise ConfigError(f"input_bits is {data['input_bits']!r}; only activations of 8 bits are supported")
        for token_id in (self.bos_token_id, *self.eos_token_ids):
            if token_id is not None and token_id >= self.vocab_size:
                raise ConfigError(f"bos_token_id or eos_token_id ({token_id}) is not below vocab_size")

    @property
    def architecture(self) -> Literal["bitnet", "llama", "qwen3"]:
        """The architecture by its norms, in the words of `model_type`."""
        if self.sub_norms:
            return "bitnet"
        return "qwen3" if self.qk_norms else "llama"

    @property
    def queries_per_kv_head(self) -> int:
        """Number of query heads that share one KV head (grouped-query attention)."""
        return self.num_attention_heads // self.num_key_value_heads

    @property
    def query_features(self) -> int:
        """Number of features of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_features(self) -> int:
        """Number of features of all key heads together. All value heads together have as many."""
        return self.num_key_value_heads * self.head_dim

    @property
    def linear_shapes(self) -> dict[str, tuple[int, int]]:
        """Shape [out, in] of each linear of a layer, in the order in which a layer applies them."""
        return {
            "q_proj": (self.query_features, self.hidden_size),
            "k_proj": (self.kv_features, self.hidden_size),
            "v_proj": (self.kv_features, self.hidden_size),
            "o_proj": (self.hidden_size, self.query_features),
            "gate_proj": (self.intermediate_size, self.hidden_size),
            "up_proj": (self.intermediate_size, self.hidden_size),
            "down_proj": (self.hidden_size, self.intermediate_size),
        }

    @property
    def ternary_weights(self) -> int:
        """The number of ternary weights of the model: those of all linears of all layers."""
        return self.num_hidden_layers * sum(rows * columns for rows, columns in self.linear_shapes.values())

    @property
    def norm_sizes(self) -> dict[str, int]:
        """Size of each norm of a layer, by its field of `LayerWeights`; only the norms that the architecture has."""
        sizes = {"input_layernorm": self.hidden_size, "post_attention_layernorm": self.hidden_size}
        if self.sub_norms:
            sizes |= {"attn_sub_norm": self.query_features, "ffn_sub_norm": self.intermediate_size}
        if self.qk_norms:
            sizes |= {"q_norm": self.head_dim, "k_norm": self.head_dim}
        return sizes


def _one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}; known values: {', '.join(known)}")


def _dimension(data: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = data.get(name)
    if value is None:
        value = default
    if value is None:
        raise ConfigError(f"{name} is missing")
    require(name, value, f"an integer from 1 to {_MAX_DIMENSION}", is_int(value, 1, _MAX_DIMENSION))
    return int(value)


def _flag(data: Mapping[str, Any], name: str, default: bool, where: str = "") -> bool:
    value = data.get(name, default)
    if value is None:
        return default
    require(where + name, value, "true or false", isinstance(value, bool))
    return bool(value)


def _token_id(data: Mapping[str, Any], name: str) -> int | None:
    value = data.get(name)
    if value is not None:
        require(name, value, "a token id", is_int(value, 0))
    return value


def _token_ids(data: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """Return the token ids of a field, each once."""
    value = data.get(name)
    if value is None:
        return ()
    values = value if isinstance(value, list) else [value]
    for token_id in values:
        require(name, token_id, "a token id or a list of them", is_int(token_id, 0))
    return tuple(dict.fromkeys(values))
