"""`bitnet-tt info` counts the bytes that loading takes; a model from `bitnet-tt convert` generates the same text."""

import json
from pathlib import Path

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.config import LINEAR_NAMES
from tests import golden_checkpoints


def test_bytes_are_those_of_the_loaded_weights(run) -> None:
    facts = json.loads(run("info", "--json").stdout)
    weights = BitNetModel.from_pretrained("demo").checkpoint.load_weights()
    linears = [layer.linear(name) for layer in weights.layers for name in LINEAR_NAMES]
    norms = [
        norm
        for layer in weights.layers
        for norm in (layer.input_layernorm, layer.post_attention_layernorm, layer.attn_sub_norm, layer.ffn_sub_norm)
    ]
    memory = facts["memory"]
    assert memory["ternary"]["bytes"] == sum(linear.packed.nbytes + 4 for linear in linears)
    assert memory["ternary"]["parameters"] == 4 * sum(linear.packed.size for linear in linears)
    assert memory["norms"]["bytes"] == sum(norm.nbytes for norm in [*norms, weights.norm])
    assert memory["embedding"]["bytes"] == weights.embed_tokens.nbytes
    assert memory["head"]["bytes"] == 0
    assert memory["bits_per_ternary_weight"] == pytest.approx(2, rel=1e-3)
    assert memory["fp16_ratio_linear"] == pytest.approx(8, rel=1e-3)
    assert facts["tokenizer"]["chat_example"] == "User: Hello<|eot_id|>Assistant: "


def test_the_table_fits_80_columns(run) -> None:
    text = run("info").stdout
    assert max(map(len, text.splitlines())) <= 80
    for part in ("ternary weights", "embedding", "lm_head (tied)", "norms", "total", "8.00 times smaller"):
        assert part in text


def test_a_model_without_a_tokenizer_still_has_shapes(run) -> None:
    result = run("info", str(golden_checkpoints.FOLDER / "bitnet-packed"))
    assert result.exit_code == 0
    assert "no tokenizer in" in " ".join(result.stdout.split())


def test_a_converted_model_generates_the_same_text(run, tmp_path: Path) -> None:
    target = str(tmp_path / "copy")
    assert run("convert", "demo", target, "--to", "packed").exit_code == 0
    for prompt in ("Once upon a time", "It's 12 o'clock, "):
        expected = run("generate", prompt, "-n", "20").stdout
        assert run("generate", prompt, "-n", "20", "-m", target).stdout == expected
    again = run("convert", "demo", target, "--to", "packed")
    assert again.exit_code == 1
    assert "exists" in again.stderr
    assert run("convert", "demo", target, "--to", "packed", "--overwrite").exit_code == 0


def test_a_shape_that_gguf_cannot_hold_is_refused(run, tmp_path: Path) -> None:
    """The demo model's intermediate_size of 704 is not a multiple of 128, the block size of I2_S."""
    result = run("convert", "demo", str(tmp_path / "demo.gguf"), "--to", "gguf-i2s")
    assert result.exit_code == 1
    assert "704" in result.stderr
    assert list(tmp_path.iterdir()) == []
