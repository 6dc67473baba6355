"""Master weights that config.json does not announce load exactly as announced ones, if the user says what they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from bitnet_tt import BitNetModel
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.convert import convert
from bitnet_tt.checkpoint.hub import DEMO_FOLDER
from bitnet_tt.checkpoint.packing import unpack
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.weights import bfloat16_to_float32, float32_to_bfloat16
from tests.checkpoint import small
from tests.checkpoint.test_convert import assert_equal
from tests.cli.conftest import run  # noqa: F401 (a fixture)

VOCAB = 2048
"""That of the demo, whose tokenizer these models get."""


def trained_config(**changes: Any) -> dict[str, Any]:
    """A config.json as transformers 5 saves it after training Falcon-E with onebitllms."""
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1,
        "dtype": "bfloat16", "eos_token_id": 2, "head_dim": small.HEAD_DIM, "hidden_act": "silu",
        "hidden_size": small.HIDDEN, "initializer_range": 0.02, "intermediate_size": small.INTERMEDIATE,
        "max_position_embeddings": 128, "mlp_bias": False, "model_type": "llama", "num_attention_heads": small.HEADS,
        "num_hidden_layers": small.LAYERS, "num_key_value_heads": small.KV_HEADS, "pretraining_tp": 1,
        "rms_norm_eps": 1e-6, "rope_parameters": {"rope_theta": 1000042, "rope_type": "default"},
        "tie_word_embeddings": False, "transformers_version": "5.0.0", "use_cache": False, "vocab_size": VOCAB,
        **changes,
    }  # fmt: skip


def tensors(dtype: str = "BF16") -> small.Tensors:
    stored = {name: value for name, value in small.masters(dtype).items() if "sub_norm" not in name}
    stored["model.embed_tokens.weight"] = small.bfloat16((VOCAB, small.HIDDEN))
    stored["lm_head.weight"] = small.bfloat16((VOCAB, small.HIDDEN), seed=5)
    return stored


def write(folder: Path, stored: small.Tensors | None = None, **changes: Any) -> Path:
    """A folder as `save_pretrained` and the Trainer of transformers leave it: two shards and training files."""
    folder.mkdir()
    stored = tensors() if stored is None else stored
    names = sorted(stored)
    shards = {f"model-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for file, members in shards.items():
        (folder / file).write_bytes(small.safetensors_bytes({name: stored[name] for name in members}))
    weight_map = {name: file for file, members in shards.items() for name in members}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(trained_config(**changes)))
    (folder / "generation_config.json").write_text('{"_from_model_config": true, "eos_token_id": 2}')
    (folder / "training_args.bin").write_bytes(b"pickle")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((DEMO_FOLDER / file).read_bytes())
    return folder


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_the_same_bits_as_announced_master_weights(tmp_path: Path, dtype: str) -> None:
    quiet = Checkpoint.open(write(tmp_path / "quiet", tensors(dtype)), masters=True)
    announced = Checkpoint.open(write(tmp_path / "announced", tensors(dtype), quantization_config=small.ONLINE))
    assert quiet.config == announced.config
    assert (quiet.masters, announced.masters) == (True, False)
    assert_equal(quiet.config, quiet.load_weights(), announced.load_weights())


def test_generating_and_saving(tmp_path: Path) -> None:
    write(tmp_path / "quiet")
    write(tmp_path / "announced", quantization_config=small.ONLINE)
    ids = list(range(3, 40))
    with BitNetModel.from_pretrained(tmp_path / "announced") as model:
        expected = model.logits(ids)
    with BitNetModel.from_pretrained(tmp_path / "quiet", masters=True) as model:
        np.testing.assert_array_equal(model.logits(ids), expected)
        model.save_pretrained(tmp_path / "saved")
    with BitNetModel.from_pretrained(tmp_path / "saved") as model:
        np.testing.assert_array_equal(model.logits(ids), expected)


def test_converting(tmp_path: Path, run: Callable[..., Result]) -> None:  # noqa: F811
    source = write(tmp_path / "quiet")
    convert(write(tmp_path / "announced", quantization_config=small.ONLINE), tmp_path / "expected.gguf", "gguf-i2s")
    refused = run("convert", str(source), str(tmp_path / "out.gguf"), "--to", "gguf-i2s")
    assert refused.exit_code == 1
    assert "bitnet-tt convert --masters" in refused.stderr
    assert run("convert", str(source), str(tmp_path / "out.gguf"), "--to", "gguf-i2s", "--masters").exit_code == 0
    first, second = Checkpoint.open(tmp_path / "out.gguf"), Checkpoint.open(tmp_path / "expected.gguf")
    assert_equal(first.config, first.load_weights(), second.load_weights())


def test_other_settings_of_the_quantisation_stay(tmp_path: Path) -> None:
    norms = {
        f"model.layers.{layer}.{name}.rms_norm.weight": small.bfloat16(shape[1:])
        for layer in range(small.LAYERS)
        for name, shape in small.LINEARS.items()
    }
    quantization = {"quant_method": "bitnet", "use_rms_norm": True}
    folder = write(tmp_path / "norms", tensors() | norms, quantization_config=quantization)
    checkpoint = Checkpoint.open(folder, masters=True)
    assert checkpoint.config.quantization.use_rms_norm
    assert checkpoint.load_weights().layers[0].q_proj.input_norm is not None
    folder = write(tmp_path / "some", quantization_config=small.ONLINE | {"modules_to_not_convert": ["mlp"]})
    with pytest.raises(ConfigError, match="modules_to_not_convert"):
        Checkpoint.open(folder, masters=True)


def test_a_sub_norm_model_may_be_announced_too(tmp_path: Path) -> None:
    small.write_folder(tmp_path, small.masters(), quantization_config=small.OFFLINE)
    checkpoint = Checkpoint.open(tmp_path, masters=True)
    assert checkpoint.config.sub_norms
    checkpoint.load_weights()


def test_without_the_word_of_the_user_it_is_an_ordinary_llama(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"an ordinary Llama: .*load it with masters=True\. Supported: "):
        Checkpoint.open(write(tmp_path / "quiet"))


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"_proj\.weight is packed, .*; leave out masters=True"):
        Checkpoint.open(small.write_folder(tmp_path / "packed"), masters=True)
    scales = {name: value for name, value in small.tensors().items() if name.endswith("weight_scale")}
    with pytest.raises(CheckpointError, match=r"weight_scale is the scale of quantised weights, .*; leave out masters"):
        Checkpoint.open(write(tmp_path / "scales", tensors() | scales), masters=True)
    with pytest.raises(CheckpointError, match=r"x\.gguf is GGUF, which holds no master weights"):
        Checkpoint.open(tmp_path / "x.gguf", masters=True)


def test_ternary_weights_times_their_scale_are_refused(tmp_path: Path) -> None:
    """As in the bfloat16 revisions of Falcon-E: the mean of their absolute values is not their scale."""
    stored = tensors()
    for name, (kind, array) in stored.items():
        if name.endswith("_proj.weight"):
            values = bfloat16_to_float32(array)
            stored[name] = (kind, float32_to_bfloat16(np.sign(np.round(values / 0.05)) * np.float32(0.0123)))
    with pytest.raises(CheckpointError, match=r"_proj\.weight holds only 0 and plus or minus 0\.0123"):
        Checkpoint.open(write(tmp_path / "bf16", stored), masters=True)


def test_dead_rows_are_no_sign_of_ternary_weights(tmp_path: Path) -> None:
    stored = tensors()
    for name, (_, array) in stored.items():
        if name.endswith("_proj.weight"):
            array[: len(array) // 2] = 0
    weights = Checkpoint.open(write(tmp_path / "dead", stored), masters=True).load_weights()
    assert (unpack(weights.layers[0].q_proj.packed)[: small.HIDDEN // 2] == 1).all()
