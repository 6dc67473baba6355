"""Masters that are trained compute what their ternary weights compute, and come back from files as they were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.convert import convert
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.errors import CheckpointError
from bitnet_tt.reference import quantize_weights
from tests import golden_checkpoints as golden
from tests.backends.cpu.random_models import BITNET, LLAMA, ONLINE, random_model

torch = pytest.importorskip("torch", reason="needs the extra torch: make test-torch")
pytorch = pytest.importorskip("bitnet_tt.pytorch")
bitlinear = pytest.importorskip("bitnet_tt.pytorch.bitlinear")
load = pytest.importorskip("bitnet_tt.pytorch.load")
training = pytest.importorskip("bitnet_tt.pytorch.training")
pytestmark = pytest.mark.torch


def logits(module: Any, seed: int = 0) -> np.ndarray:
    ids = np.random.default_rng(seed).integers(0, module.config.vocab_size, 24)
    return pytorch.logits(module, ids.tolist())


def test_rounding_is_that_of_torch() -> None:
    halves = torch.arange(-260, 261) / 2
    near = torch.cat([torch.nextafter(halves, halves + side) for side in (1, -1)])
    for x in (halves, near, torch.randn(10_000) * 100):
        assert torch.equal(bitlinear.round_half_even(x), torch.round(x))


def test_a_trainable_linear_computes_integers_and_passes_gradients_straight_through() -> None:
    torch.manual_seed(0)
    linear, x = pytorch.TrainableBitLinear(40, 12), torch.randn(5, 40, requires_grad=True)
    y = linear(x)
    ternary, scale = quantize_weights(linear.weight.detach().numpy())
    q, s = (array.numpy() for array in bitlinear.quantize_activations(x.detach()))
    expected = (q.astype(np.int64) @ ternary.T.astype(np.int64)).astype(np.float32) * (scale / s)
    assert np.array_equal(y.detach().numpy(), expected)
    gradient = torch.randn(5, 12)
    y.backward(gradient)
    assert np.allclose(x.grad, gradient.numpy() @ (scale * ternary), atol=1e-5)
    assert np.allclose(linear.weight.grad, gradient.numpy().T @ (q / s), atol=1e-5)


@pytest.mark.parametrize("config", [BITNET, LLAMA, ONLINE], ids=["bitnet", "llama", "norms of linears"])
def test_masters_of_ternary_weights_compute_the_same(config: Any) -> None:
    weights = random_model(config)
    exact, trainable = pytorch.BitNet(config), pytorch.BitNet(config, linear=pytorch.TrainableBitLinear)
    exact.load_state_dict(load.as_tensors(config, weights))
    trainable.load_state_dict(load.as_masters(config, weights))
    for layer in trainable.layers:
        for name in LINEAR_NAMES:
            weight = (getattr(layer.self_attn, name, None) or getattr(layer.mlp, name)).weight
            again, _ = bitlinear.quantize_weights(weight.detach())
            assert torch.equal(again, weight.sign())
    assert np.corrcoef(logits(exact).ravel(), logits(trainable).ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("config", [BITNET, LLAMA, ONLINE], ids=["bitnet", "llama", "norms of linears"])
def test_saved_masters_come_back_and_convert(config: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = replace(config, max_position_embeddings=64)
    module = pytorch.BitNet(config, linear=pytorch.TrainableBitLinear)
    with torch.no_grad():  # to what is stored
        for dense in [module.embed_tokens, *([module.lm_head] if module.lm_head else [])]:
            dense.weight.copy_(dense.weight.bfloat16())
    training.save_masters(module, tmp_path / "masters")
    assert np.array_equal(logits(training.load_masters(tmp_path / "masters")), logits(module))
    assert convert(tmp_path / "masters", tmp_path / "packed", "packed") == []
    packed = pytorch.BitNet.from_pretrained(tmp_path / "packed")
    assert np.array_equal(logits(packed), logits(module))
    with pytest.raises(CheckpointError, match="exists already"):
        training.save_masters(module, tmp_path / "masters")


def test_master_weights_of_a_checkpoint_are_loaded_as_they_are() -> None:
    folder = golden.FOLDER / "bitnet-master-bf16"
    module = training.load_masters(folder)
    stored = Checkpoint.open(folder).load_masters()
    weight = stored["model.layers.0.self_attn.q_proj.weight"]
    assert np.array_equal(module.layers[0].self_attn.q_proj.weight.detach().numpy(), weight)
    assert np.array_equal(logits(module), logits(pytorch.BitNet.from_pretrained(folder)))
    with pytest.raises(CheckpointError, match="not master weights"):
        Checkpoint.open(golden.FOLDER / "bitnet-packed").load_masters()
