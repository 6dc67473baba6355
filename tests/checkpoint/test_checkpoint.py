"""A Hugging Face folder of any supported family loads completely and without copies of packed weights.

A damaged or unknown one is refused with an error that names the file, tensor or field.
"""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitnet_tt.checkpoint import Checkpoint, save_packed
from bitnet_tt.checkpoint.packing import pack, unpack
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.weights import ModelWeights, bfloat16_to_float32, float32_to_bfloat16
from tests import golden_checkpoints as golden
from tests.checkpoint import small

Q_PROJ = "model.layers.1.self_attn.q_proj"


def load(folder: Path) -> ModelWeights:
    return Checkpoint.open(folder).load_weights()


def test_open_reads_headers_and_load_maps_the_file(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(small.write_folder(tmp_path))
    assert (checkpoint.format, checkpoint.family, checkpoint.path) == ("safetensors", "bitnet", tmp_path)
    assert checkpoint.config.sub_norms
    (file,) = checkpoint.files
    assert file == (tmp_path / "model.safetensors", (tmp_path / "model.safetensors").stat().st_size)
    seen: list[tuple[int, int]] = []
    weights = checkpoint.load_weights(lambda done, total: seen.append((done, total)))
    stored = small.tensors()
    for matrix, name in ((weights.layers[1].q_proj, "q_proj"), (weights.layers[1].o_proj, "o_proj")):
        np.testing.assert_array_equal(matrix.packed, stored[f"model.layers.1.self_attn.{name}.weight"][1])
        assert not matrix.packed.flags.owndata
        assert not matrix.packed.flags.writeable
        scale = stored[f"model.layers.1.self_attn.{name}.weight_scale"][1]
        assert matrix.scale == bfloat16_to_float32(scale)[0]
        assert isinstance(matrix.scale, np.float32)
    assert weights.lm_head is weights.embed_tokens
    assert weights.layers[0].ffn_sub_norm is not None
    assert weights.layers[0].ffn_sub_norm.dtype == np.float32
    assert seen == sorted(seen)
    matrices = [value.nbytes for _, value in stored.values() if value.ndim == 2]
    assert seen[-1] == (sum(matrices), sum(value.nbytes for _, value in stored.values()))
    assert checkpoint.notes == []


@pytest.mark.parametrize("name", golden.NAMES)
def test_golden_checkpoints_load(name: str) -> None:
    checkpoint = Checkpoint.open(golden.FOLDER / name)
    assert checkpoint.config.eos_token_ids == (2,)
    assert checkpoint.family == ("bitnet-embedding" if name == "qwen3-embedding" else name.partition("-")[0])
    weights = checkpoint.load_weights()
    share = np.mean([unpack(layer.up_proj.packed) != 1 for layer in weights.layers])
    assert 0.5 < share < 0.75
    assert (weights.lm_head is weights.embed_tokens) == checkpoint.config.tie_word_embeddings


def test_eos_ids_of_both_files(tmp_path: Path) -> None:
    small.write_folder(tmp_path, eos_token_id=3)
    path = tmp_path / "generation_config.json"
    path.write_text('{"eos_token_id": [3, 9]}')
    assert Checkpoint.open(tmp_path).config.eos_token_ids == (3, 9)
    path.write_text('{"eos_token_id": [[3], 9]}')
    with pytest.raises(ConfigError, match="eos_token_id"):
        Checkpoint.open(tmp_path)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"generation_config\.json is not valid JSON"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("explicit", [True, False])
def test_divide_convention_is_the_default(tmp_path: Path, explicit: bool) -> None:
    quantization = {"quant_method": "bitnet"} | ({"linear_class": "bitlinear"} if explicit else {})
    small.write_folder(tmp_path, small.tensors(divide=True), quantization_config=quantization)
    stored = small.tensors(divide=True)[Q_PROJ + ".weight_scale"][1]
    assert load(tmp_path).layers[1].q_proj.scale == np.float32(1) / bfloat16_to_float32(stored)[0]


def test_scales_too_small_to_divide_by(tmp_path: Path) -> None:
    stored = small.tensors(divide=True) | {Q_PROJ + ".weight_scale": ("F32", np.full(1, 1e-40, np.float32))}
    small.write_folder(tmp_path, stored, quantization_config={"quant_method": "bitnet"})
    with pytest.raises(CheckpointError, match="weight scale of inf"):
        load(tmp_path)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize(("dtype", "element"), [("F32", np.float32), ("F16", np.float16)])
def test_scale_shapes_and_types(tmp_path: Path, shape: tuple[int, ...], dtype: str, element: type) -> None:
    small.write_folder(tmp_path, small.tensors() | {Q_PROJ + ".weight_scale": (dtype, np.full(shape, 0.75, element))})
    assert load(tmp_path).layers[1].q_proj.scale == 0.75


def test_untied_head_and_ignored_extras(tmp_path: Path) -> None:
    extras = {"model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", np.ones(32, np.float32))}
    head = {"lm_head.weight": small.bfloat16((small.VOCAB, small.HIDDEN), seed=9)}
    stored = small.tensors() | head | extras
    weights = load(small.write_folder(tmp_path / "untied", stored, tie_word_embeddings=False))
    np.testing.assert_array_equal(weights.lm_head, head["lm_head.weight"][1])


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_copy_of_the_embedding_is_tied(tmp_path: Path, dtype: str) -> None:
    stored = small.tensors()
    bits = stored["model.embed_tokens.weight"][1]
    stored["lm_head.weight"] = (dtype, bits if dtype == "BF16" else bfloat16_to_float32(bits))
    checkpoint = Checkpoint.open(small.write_folder(tmp_path, stored))
    weights = checkpoint.load_weights()
    assert checkpoint.config.tie_word_embeddings
    assert weights.lm_head is weights.embed_tokens
    assert checkpoint.notes == []


@pytest.mark.parametrize("row", [0, 2999])
def test_a_head_of_its_own_is_used_in_spite_of_the_flag(tmp_path: Path, row: int) -> None:
    """transformers 5 uses a stored lm_head that differs from the embedding, whatever tie_word_embeddings says."""
    stored = small.tensors(vocab=3000)
    head = stored["model.embed_tokens.weight"][1].copy()
    head[row, -1] ^= 1
    stored["lm_head.weight"] = ("BF16", head)
    checkpoint = Checkpoint.open(small.write_folder(tmp_path / "source", stored, vocab_size=3000))
    weights = checkpoint.load_weights()
    assert not checkpoint.config.tie_word_embeddings
    np.testing.assert_array_equal(weights.lm_head, head)
    (note,) = checkpoint.notes
    assert "lm_head.weight differs from the embedding" in note
    save_packed(checkpoint.config, weights, tmp_path / "packed")
    np.testing.assert_array_equal(load(tmp_path / "packed").lm_head, head)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (("F32", np.full((small.VOCAB, small.HIDDEN), np.nan, np.float32)), r"lm_head\.weight holds NaN"),
        (("F32", np.ones((3, 3), np.float32)), r"lm_head\.weight has shape \[3, 3\]"),
        (("U8", np.ones((small.VOCAB, small.HIDDEN), np.uint8)), r"lm_head\.weight has type U8"),
    ],
)
def test_a_damaged_head_is_refused_in_spite_of_the_flag(tmp_path: Path, head: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(small.write_folder(tmp_path, small.tensors() | {"lm_head.weight": head}))


def test_rounding_a_wider_embedding_is_reported(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 1, (small.VOCAB, small.HIDDEN)).astype(np.float32)
    checkpoint = Checkpoint.open(
        small.write_folder(tmp_path, small.tensors() | {"model.embed_tokens.weight": ("F32", values)})
    )
    weights = checkpoint.load_weights()
    np.testing.assert_array_equal(weights.embed_tokens, float32_to_bfloat16(values))
    assert checkpoint.notes == ["model.embed_tokens.weight is stored as F32 and was rounded to bfloat16"]


def test_loading_holds_no_second_copy(tmp_path: Path) -> None:
    vocab = 1 << 15
    stored = small.tensors(vocab=vocab)
    stored = {name: stored[name] for name in sorted(stored, key=lambda name: stored[name][0] == "U8")}
    checkpoint = Checkpoint.open(small.write_folder(tmp_path, stored, vocab_size=vocab))
    tracemalloc.start()
    checkpoint.load_weights()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert checkpoint.files[0].size > 16_000_000
    assert peak < 2_000_000


def test_masters_and_unpacked_ternary(tmp_path: Path) -> None:
    weights = load(small.write_folder(tmp_path / "masters", small.masters(), quantization_config=small.ONLINE))
    assert weights.layers[0].q_proj.scale == pytest.approx(0.04, rel=0.1)
    stored = small.tensors()
    codes = unpack(stored[Q_PROJ + ".weight"][1])
    stored[Q_PROJ + ".weight"] = ("BF16", float32_to_bfloat16(codes.astype(np.float32) - 1))
    unpacked = load(small.write_folder(tmp_path / "unpacked", stored))
    np.testing.assert_array_equal(unpacked.layers[1].q_proj.packed, pack(codes))


def test_linears_with_norms_of_their_own(tmp_path: Path) -> None:
    norms = {
        f"model.layers.{layer}.{name}.rms_norm.weight": small.bfloat16(shape[1:])
        for layer in range(small.LAYERS)
        for name, shape in small.LINEARS.items()
    }
    quantization = small.OFFLINE | {"use_rms_norm": True, "rms_norm_eps": 1e-6}
    weights = load(small.write_folder(tmp_path, small.tensors() | norms, quantization_config=quantization))
    norm = weights.layers[1].down_proj.input_norm
    assert norm is not None
    assert norm.shape == (small.INTERMEDIATE,)


def test_1bitllm(tmp_path: Path) -> None:
    """model_type llama, no quantization_config, float32 masters, other names of the sub-norms."""
    renames = ("attn_sub_norm", "inner_attn_ln"), ("ffn_sub_norm", "ffn_layernorm")
    stored = {}
    for name, value in small.masters("F32").items():
        for canonical, theirs in renames:
            name = name.replace(canonical, theirs)
        stored[name] = value
    small.write_folder(
        tmp_path, stored, model_type="llama", architectures=["BitnetForCausalLM"], hidden_act="silu",
        quantization_config=None, weight_bits=1, input_bits=8,
    )  # fmt: skip
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.family == "1bitllm"
    assert checkpoint.config.sub_norms
    assert checkpoint.config.hidden_act == "silu"
    weights = checkpoint.load_weights()
    assert weights.layers[0].attn_sub_norm is not None


def test_llama_style(tmp_path: Path) -> None:
    stored = small.tensors(sub_norms=False, divide=True)
    quantization = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
    small.write_folder(tmp_path, stored, model_type="llama", hidden_act="silu", quantization_config=quantization)
    checkpoint = Checkpoint.open(tmp_path)
    assert (checkpoint.family, checkpoint.config.sub_norms) == ("llama", False)
    assert checkpoint.load_weights().layers[0].attn_sub_norm is None


@pytest.mark.parametrize(("model_type", "theta", "eps"), [("bitnet", 500000.0, 1e-5), ("llama", 10000.0, 1e-6)])
def test_absent_settings_have_the_defaults_of_transformers(
    tmp_path: Path, model_type: str, theta: float, eps: float
) -> None:
    """transformers' BitNetConfig and LlamaConfig differ in these two."""
    stored = small.tensors(sub_norms=model_type == "bitnet")
    changes = {"model_type": model_type, "hidden_act": None, "rope_theta": None, "rms_norm_eps": None}
    config = Checkpoint.open(small.write_folder(tmp_path, stored, **changes)).config
    assert (config.rope_theta, config.rms_norm_eps) == (theta, eps)
    assert config.hidden_act == ("relu2" if model_type == "bitnet" else "silu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gemma3_text"}, r"model_type 'gemma3_text', .* not supported\. Supported: .*2B-4T.*Falcon"),
        ({"model_type": "llama", "quantization_config": None}, "an ordinary Llama"),
        ({"model_type": "qwen3", "quantization_config": None}, "an ordinary Qwen3"),
    ],
)
def test_unknown_families_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.open(small.write_folder(tmp_path, **changes))


def damaged() -> list[tuple[str, small.Tensors | str, str]]:
    """Cases: a name, the change (tensors to replace, or the name of one to leave out), and what the error says."""
    weight, scale, norm = Q_PROJ + ".weight", Q_PROJ + ".weight_scale", "model.norm.weight"
    codes = small.random_codes((256, 256))
    codes_with_3 = pack(codes)
    codes_with_3[5, 5] = 0xFF
    nan = np.full(256, np.nan, np.float32)
    return [
        ("missing", weight, rf"tensor {Q_PROJ}\.weight is missing"),
        ("missing scale", scale, rf"tensor {Q_PROJ}\.weight_scale is missing"),
        ("missing norm", norm, r"tensor model\.norm\.weight is missing"),
        ("extra", {"model.extra.bias": ("F32", nan)}, r"tensor model\.extra\.bias has no place"),
        ("code 3", {weight: ("U8", codes_with_3)}, "holds the code 3"),
        ("zeroed", {weight: ("U8", np.full((64, 256), 0x55, np.uint8))}, "is zero in 100.0%"),
        ("blanked", {weight: ("U8", np.zeros((64, 256), np.uint8))}, r"has the same value in 100\.0%"),
        (
            "shape",
            {weight: ("U8", pack(codes)[:63])},
            r"has shape \[63, 256\], but the config requires \[64, 256\]",
        ),
        ("int8", {weight: ("I8", codes.astype(np.int8))}, "has type I8"),
        ("masters", {weight: ("F32", codes.astype(np.float32))}, "values other than -1, 0 and 1"),
        ("nan norm", {norm: ("F32", nan)}, r"model\.norm\.weight holds NaN"),
        ("nan scale", {scale: ("F32", nan[:1])}, "weight scale of nan"),
        ("negative scale", {scale: ("F32", -np.ones(1, np.float32))}, "weight scale of -1"),
        ("groups", {scale: ("F32", np.ones(2, np.float32))}, "has 2 values, but only one scale per matrix"),
        ("nan embedding", {"model.embed_tokens.weight": ("F32", nan[None].repeat(64, 0))}, "holds NaN"),
        ("packed norm", {norm: ("U8", np.zeros(256, np.uint8))}, "has type U8 instead of floats"),
    ]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in damaged()], ids=[case[0] for case in damaged()])
def test_damage_is_found(tmp_path: Path, change: small.Tensors | str, message: str) -> None:
    stored = small.tensors()
    if isinstance(change, str):
        del stored[change]
    else:
        stored |= change
    with pytest.raises(CheckpointError, match=message) as caught:
        load(small.write_folder(tmp_path, stored))
    assert str(tmp_path) in str(caught.value)


def test_masters_must_be_announced(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weight_scale; if .* holds master weights, .*masters=True"):
        load(small.write_folder(tmp_path / "masters", small.masters()))
    with pytest.raises(
        CheckpointError, match=r'is packed, but config\.json has no quantization_config of mode "offline"'
    ):
        load(small.write_folder(tmp_path / "packed", quantization_config=small.ONLINE))


def test_paths_without_a_checkpoint_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        Checkpoint.open(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        Checkpoint.open(tmp_path / "none.gguf")
    (tmp_path / "config.json").write_text(json.dumps(small.config()))
    with pytest.raises(CheckpointError, match="holds no model"):
        Checkpoint.open(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"config\.json must hold a JSON object"):
        Checkpoint.open(tmp_path)
