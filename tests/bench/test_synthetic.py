"""Random models have the shape that was asked for, finite logits, and the zeros of trained models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitnet_tt import reference
from bitnet_tt.bench.synthetic import synthetic_checkpoint, synthetic_config, synthetic_weights
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.errors import ConfigError
from tests.bench.small import SHAPE


def test_logits_are_finite_and_42_percent_of_the_weights_are_zero() -> None:
    config = replace(synthetic_config("2b4t"), num_hidden_layers=1, vocab_size=64)
    weights = synthetic_weights(config)
    assert np.isfinite(reference.forward(config, weights, [1, 2, 3])).all()
    zeros = (reference.unpack_ternary(weights.layers[0].down_proj.packed) == 0).mean()
    assert abs(zeros - 0.42) < 0.01


def test_sizes_of_a_shape_can_be_changed() -> None:
    config = synthetic_config("0.7b,layers=3,kv_heads=4,vocab=100")
    assert (config.num_hidden_layers, config.num_key_value_heads, config.vocab_size) == (3, 4, 100)
    assert config.hidden_size == synthetic_config("0.7b").hidden_size


def test_shapes_of_ternary_bonsai_have_the_weights_of_their_model_cards(tmp_path: Path) -> None:
    """Of the 8B model: 8.19 billion parameters, 6.95 of them in the layers, in files of 2.18 GB."""
    config = synthetic_config("bonsai-8b")
    tables = 2 * config.vocab_size * config.hidden_size
    assert round(config.ternary_weights / 1e9, 2) == 6.95
    assert round((config.ternary_weights + tables) / 1e9, 2) == 8.19
    assert round((config.ternary_weights + tables) * 2.125 / 8 / 1e9, 2) == 2.18
    small = "bonsai-1.7b,hidden=256,intermediate=256,layers=2,heads=2,kv_heads=2,vocab=99"
    path = synthetic_checkpoint(small, tmp_path)
    checkpoint = Checkpoint.open(path)
    assert (checkpoint.family, checkpoint.config) == ("ternary-bonsai", synthetic_config(small))
    weights = checkpoint.load_weights()
    assert np.isfinite(reference.forward(checkpoint.config, weights, [1, 2, 3])).all()
    assert path.name == f"synthetic-{small}.gguf"


@pytest.mark.parametrize("shape", ["3b", "2b4t,depth=3", "2b4t,layers", "2b4t,layers=-1", "2b4t,heads=7"])
def test_impossible_shapes_are_refused(shape: str) -> None:
    with pytest.raises(ConfigError):
        synthetic_config(shape)


def test_a_checkpoint_is_written_once(tmp_path: Path) -> None:
    path = synthetic_checkpoint(SHAPE, tmp_path)
    made = (path / "model.safetensors").stat().st_mtime_ns
    assert synthetic_checkpoint(SHAPE, tmp_path) == path
    assert (path / "model.safetensors").stat().st_mtime_ns == made
    assert Checkpoint.open(path).config.hidden_size == 256
