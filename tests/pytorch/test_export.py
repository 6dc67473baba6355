"""Exports compute what the module computes, hold all that a runtime needs, and appear complete or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.formats.safetensors import read_file
from bitnet_tt.reference.compare import compare_logits
from tests import golden_checkpoints as golden

torch = pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
pytorch = pytest.importorskip("bitnet_tt.pytorch")
export = pytest.importorskip("bitnet_tt.pytorch.export")
operations = pytest.importorskip("bitnet_tt.pytorch.operations")
pytestmark = pytest.mark.torch

TOKENS = 33
NAMES = ("bitnet-packed", "llama-packed-divide")
"""bitnet-master-bf16 has the programs of bitnet-packed."""


def golden_module(name: str) -> Any:
    return pytorch.BitNet.from_pretrained(golden.FOLDER / name, batch=2, max_length=40)


@pytest.mark.parametrize("name", NAMES)
def test_pt2_files_give_the_same_bits(name: str, tmp_path: Path) -> None:
    module = golden_module(name)
    assert export.export(module, tmp_path / "out", "torch-export", prompt_length=TOKENS) == []
    described = json.loads((tmp_path / "out/export.json").read_text())["programs"]
    prefill, step = (
        torch.export.load(tmp_path / "out" / described[program]["file"]).module() for program in ("prefill", "step")
    )
    ids = torch.from_numpy(golden.expected(name)["input_ids"].astype(np.int32))
    next_ids, positions = ids[:, :1], torch.full((2, 1), TOKENS, dtype=torch.int32)
    with torch.inference_mode():
        logits, keys, values = prefill(ids)
        expected = module(ids)
        assert torch.equal(logits, expected[0])
        found = step(next_ids, positions, keys, values)
        expected = module(next_ids, positions, *expected[1:])
    assert torch.equal(found[0], expected[0])
    assert all(torch.equal(*pair) for pair in zip(found[1] + found[2], expected[1] + expected[2], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_stablehlo_can_be_run_from_the_files_alone(name: str, tmp_path: Path) -> None:
    jax = pytest.importorskip("jax", reason="needs the extra stablehlo: make test-torch")
    backend = pytest.importorskip("jax.extend.backend")
    types = pytest.importorskip("ml_dtypes")
    notes = export.export(golden_module(name), tmp_path / "out", "stablehlo", prompt_length=TOKENS)
    assert len(notes) == 2
    assert all("tt-mlir 19c86fc converts all of them" in note for note in notes)
    described = json.loads((tmp_path / "out/export.json").read_text())
    assert {one for program in described["programs"].values() for one in program["operations"]} <= operations.CONVERTED
    program, tensors = described["programs"]["prefill"], read_file(tmp_path / "out/weights.safetensors")
    weights = [tensors[one].array() for one in program["weights"]]
    weights = [one.view(types.bfloat16) if one.dtype == np.uint16 else one for one in weights]
    expected = golden.expected(name)
    inputs = [expected["input_ids"].astype(np.int32)]
    assert [list(one.shape) for one in inputs] == [one["shape"] for one in program["inputs"]]
    client = backend.get_backend("cpu")
    executable = client.compile_and_load((tmp_path / "out" / program["file"]).read_bytes(), client.devices()[:1])
    outputs = [np.asarray(one) for one in executable.execute([jax.device_put(one) for one in (*weights, *inputs)])]
    assert [list(one.shape) for one in outputs] == [one["shape"] for one in program["outputs"]]
    assert compare_logits(outputs[0], expected["logits"]).correlation >= 0.9999
    assert "func.func public @main" in (tmp_path / "out" / program["text"]).read_text()


def test_operations_that_are_not_converted_are_found() -> None:
    text = """
    %0 = stablehlo.round_nearest_even %arg0 : tensor<2xf32> loc(#loc1)
    %1 = "stablehlo.gather"(%0, %5) <{dimension_numbers = #stablehlo.gather<offset_dims = [2]>}> : (tensor<2xf32>)
    %2 = stablehlo.reduce(%1 init: %c) applies stablehlo.and across dimensions = [2] : (tensor<2xf32>)
    %3 = chlo.erf %2 : tensor<2xf32>
    stablehlo.return %3 : tensor<f32>
    """
    counts = operations.count_operations(text)
    assert counts == {"round_nearest_even": 1, "gather": 1, "reduce": 1, "and": 1, "chlo.erf": 1}
    assert set(counts) - operations.CONVERTED == {"round_nearest_even", "chlo.erf"}


def test_an_export_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, target = golden_module("bitnet-packed"), tmp_path / "out"
    for length in (0, 41):
        with pytest.raises(ConfigError, match="prompt_length must be from 1 to 40"):
            export.export(module, target, "torch-export", prompt_length=length)
    with monkeypatch.context() as patch:
        patch.setattr(torch.export, "export", lambda *_, **__: pytest.exit("a stop in the middle", 0))
        with pytest.raises(pytest.exit.Exception):
            export.export(module, target, "torch-export", prompt_length=8)
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    with pytest.raises(CheckpointError, match="exists already"):
        export.export(module, target, "torch-export", prompt_length=8)
    with pytest.raises(CheckpointError, match=r"a folder without export\.json"):
        export.export(module, target, "torch-export", prompt_length=8, overwrite=True)
