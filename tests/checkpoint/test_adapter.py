"""Adapters (LoRA) in PEFT's format: which are read, what they compute, and what is said of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitnet_tt import BitNetModel, reference
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.errors import BitNetError, CheckpointError, DeviceError
from bitnet_tt.reference.compare import CONTRACT, compare_logits
from bitnet_tt.server.fingerprint import system_fingerprint
from tests import golden_checkpoints as golden
from tests.backends.cpu.random_models import logits_of

MODEL = golden.FOLDER / "bitnet-packed"
RANK = 4
Q_PROJ, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"


def matrices(module: str, rank: int = RANK, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    out_features, in_features = Checkpoint.open(MODEL).config.linear_shapes[module.split(".")[-1]]
    return {
        f"base_model.model.{module}.lora_A.weight": rng.normal(0, 0.1, (rank, in_features)).astype(np.float32),
        f"base_model.model.{module}.lora_B.weight": rng.normal(0, 0.1, (out_features, rank)).astype(np.float32),
    }


def write(folder: Path, tensors: dict[str, np.ndarray] | None = None, **settings: Any) -> Path:
    folder.mkdir()
    tensors = matrices(Q_PROJ) | matrices(DOWN) if tensors is None else tensors
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none"} | settings
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def test_logits_are_those_of_transformers_with_peft() -> None:
    expected = golden.adapter_logits()
    checkpoint = Checkpoint.open(MODEL, adapter=golden.ADAPTER)
    backend = CPUBackend(checkpoint.config, checkpoint.load_weights())
    plain = golden.expected(MODEL.name)
    logits = np.stack([logits_of(backend, ids) for ids in plain["input_ids"]])
    assert compare_logits(logits, expected).meets(CONTRACT)
    assert compare_logits(plain["logits"], expected).correlation < 0.99


@pytest.mark.parametrize(
    ("settings", "scaling"),
    [
        ({}, 2.0),
        ({"use_rslora": True}, 4.0),
        ({"lora_alpha": 2.5}, 0.625),
        ({"alpha_pattern": {"mlp.down_proj": 6, "up_proj": 1}}, 1.5),
        ({"alpha_pattern": {"own_proj": 6}}, 2.0),
    ],
)
def test_scaling(tmp_path: Path, settings: dict[str, Any], scaling: float) -> None:
    checkpoint = Checkpoint.open(MODEL, adapter=write(tmp_path / "lora", **settings))
    weights = checkpoint.load_weights()
    assert weights.layers[1].adapters.keys() == {"down_proj"}
    adapter = weights.layers[1].adapters["down_proj"]
    assert adapter.scaling == np.float32(scaling)
    stored = matrices(DOWN)
    np.testing.assert_array_equal(adapter.a, stored[f"base_model.model.{DOWN}.lora_A.weight"])
    np.testing.assert_array_equal(adapter.b.T, stored[f"base_model.model.{DOWN}.lora_B.weight"])


def test_an_adapter_of_another_rank_and_type_is_read(tmp_path: Path) -> None:
    halves = {name: array.astype(np.float16) for name, array in matrices(Q_PROJ, rank=3).items()}
    weights = Checkpoint.open(MODEL, adapter=write(tmp_path / "lora", halves)).load_weights()
    assert weights.layers[0].adapters["q_proj"].a.shape == (3, 256)
    assert weights.layers[0].adapters["q_proj"].scaling == np.float32(8 / 3)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
        ({"use_dora": True}, "use_dora"),
        ({"a_new_field": 3}, "a_new_field"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"lora_alpha": "much"}, "lora_alpha"),
        ({"alpha_pattern": {".*down.*": 3}}, "alpha_pattern"),
        ({"alpha_pattern": [3]}, "alpha_pattern"),
    ],
)
def test_other_kinds_are_refused_by_field(tmp_path: Path, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        Checkpoint.open(MODEL, adapter=write(tmp_path / "lora", **settings))


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"base_model.model.lm_head.lora_A.weight": np.zeros((4, 256), np.float32)}, "lm_head.*belongs to this model"),
        ({"base_model.model.model.embed_tokens.lora_embedding_A": np.zeros((4, 512), np.float32)}, "embed_tokens"),
        ({f"base_model.model.{Q_PROJ}.lora_A.weight": np.zeros((4, 256), np.float32)}, "no lora_B beside it"),
        ({name.replace("layers.0", "layers.9"): array for name, array in matrices(Q_PROJ).items()}, r"layers\.9"),
        ({name: array[:, :-1] for name, array in matrices(Q_PROJ).items()}, "shape"),
        ({name: array[0] for name, array in matrices(Q_PROJ).items()}, "shape"),
        ({name: array[:0] for name, array in matrices(Q_PROJ).items()}, "shape"),
        ({name: np.full_like(array, np.nan) for name, array in matrices(Q_PROJ).items()}, "NaN"),
        ({}, "holds no matrices"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, tensors: dict[str, np.ndarray], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        Checkpoint.open(MODEL, adapter=write(tmp_path / "lora", tensors)).load_weights()


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_folder_without_an_adapter_is_named(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path / "lora")
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=missing):
        Checkpoint.open(MODEL, adapter=folder)


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "lora")
    (folder / "adapter_config.json").write_text("[]")
    with pytest.raises(BitNetError, match=r"adapter_config\.json"):
        Checkpoint.open(MODEL, adapter=folder)


def test_a_card_refuses_adapters_before_it_loads_weights(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="adapters"):
        BitNetModel.from_pretrained("demo", device="tt", adapter=write_for_demo(tmp_path / "lora"))


def test_the_demo_model_runs_with_an_adapter(tmp_path: Path) -> None:
    """Its logits and its fingerprint are others, and the reference computes the same."""
    folder = write_for_demo(tmp_path / "lora")
    with BitNetModel.from_pretrained("demo") as model:
        ids = model.tokenizer.encode("Once upon a time, there was a fox.")
        plain, fingerprint = model.logits(ids), system_fingerprint(model)
    with BitNetModel.from_pretrained("demo", adapter=folder) as model:
        adapted = model.logits(ids)
        assert compare_logits(adapted, plain).correlation < 0.999
        assert system_fingerprint(model) != fingerprint
        logits = reference.forward(model.config, model.checkpoint.load_weights(), ids)
        assert compare_logits(adapted, logits).meets(CONTRACT)


def write_for_demo(folder: Path) -> Path:
    module = "model.layers.2.mlp.gate_proj"
    rng = np.random.default_rng(1)
    tensors = {
        f"base_model.model.{module}.lora_A.weight": rng.normal(0, 0.3, (RANK, 256)).astype(np.float32),
        f"base_model.model.{module}.lora_B.weight": rng.normal(0, 0.3, (768, RANK)).astype(np.float32),
    }
    return write(folder, tensors)
