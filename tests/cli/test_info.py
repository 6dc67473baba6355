"""`bitnet-tt info` counts the bytes that loading takes; a model from `bitnet-tt convert` generates the same text."""

import json
from pathlib import Path

import pytest

from bitnet_tt import BitNetModel
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.config import LINEAR_NAMES
from tests import golden_checkpoints
from tests.checkpoint import small_bonsai


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


def test_group_scales_are_counted(run, tmp_path: Path) -> None:
    path = small_bonsai.write_gguf(tmp_path / "x.gguf", small_bonsai.tensors(128), "PQ2_0")
    facts = json.loads(run("info", str(path), "--json").stdout)
    weights = Checkpoint.open(path).load_weights()
    linears = [layer.linear(name) for layer in weights.layers for name in LINEAR_NAMES]
    memory = facts["memory"]
    assert memory["ternary"]["bytes"] == sum(linear.blocks.nbytes for linear in linears)
    assert memory["embedding"]["bytes"] == weights.embed_tokens.blocks.nbytes
    assert memory["head"]["bytes"] == weights.lm_head.blocks.nbytes
    assert memory["bits_per_ternary_weight"] == 2.125
    assert [note for note in facts["notes"] if "activations are quantised to int8 in the groups" in note]
    text = run("info", str(path)).stdout
    assert "one scale for each 128 weights, embedding and lm_head ternary too" in text


def test_the_energy_is_printed_line_by_line_as_an_estimate(run) -> None:
    result = run("info", "demo", "--energy")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.startswith("estimate: ")]
    text = " ".join(result.stdout.split())
    for what in ("the ternary linears", "attention", "sum of both", "in FP16", "ratio", "the lm_head", "memory reads"):
        assert [row for row in rows if what in " ".join(row)]
    assert [row[-1] for row in rows] == [
        "1.41e-05",
        "0.000336",
        "0.000350",
        "6.83e-07",
        "0.00134",
        "3.84",
        "0.000134",
        "0.390",
        "0.000761",
    ]
    for source in ("arXiv 2504.12285", "nothing is measured", "20.3 pJ per bit", "Horowitz, ISSCC 2014"):
        assert source in text
    assert "estimate: " not in run("info", "demo").stdout


def test_the_energy_in_json_has_units_in_its_names(run) -> None:
    estimate = json.loads(run("info", "demo", "--energy", "--json").stdout)["energy_estimate"]
    assert all(name == "fp16_ratio" or "joules" in name or "bytes" in name for name in estimate)
    assert all(isinstance(value, int | float) for value in estimate.values())
    assert estimate["paper_joules_per_512_tokens"] == pytest.approx(
        512 * 3_932_160 * 0.007e-12 + 2 * 512**2 * 256 * 5 * 0.5e-12
    )
    memory = json.loads(run("info", "demo", "--json").stdout)["memory"]
    assert estimate["weight_bytes_per_token"] == memory["total"]["bytes"]  # tied: the embedding is the lm_head


def test_a_token_reads_one_row_of_a_separate_embedding(run) -> None:
    """Of the Llama checkpoint, the lm_head is a matrix of its own."""
    facts = json.loads(run("info", str(golden_checkpoints.FOLDER / "llama-packed-divide"), "--energy", "--json").stdout)
    memory = facts["memory"]
    assert memory["head"]["bytes"] > 0
    read = sum(memory[part]["bytes"] for part in ("ternary", "head", "norms"))
    assert facts["energy_estimate"]["weight_bytes_per_token"] == read


def test_a_model_without_a_tokenizer_still_has_shapes(run) -> None:
    result = run("info", str(golden_checkpoints.FOLDER / "bitnet-packed"))
    assert result.exit_code == 0
    assert "no tokenizer in" in " ".join(result.stdout.split())


def test_norms_and_scaled_positions_are_shown(run) -> None:
    text = run("info", str(golden_checkpoints.FOLDER / "qwen3-packed-yarn")).stdout
    assert "silu, with norms of queries and keys" in text
    assert "1024 tokens, yarn positions scaled by 4" in text


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


def test_the_demo_can_be_i2_s(run, tmp_path: Path) -> None:
    target = str(tmp_path / "demo.gguf")
    assert run("convert", "demo", target, "--to", "gguf-i2s").exit_code == 0
    expected = run("generate", "Once upon a time", "-n", "20").stdout
    assert run("generate", "Once upon a time", "-n", "20", "-m", target).stdout == expected


def test_a_shape_that_gguf_cannot_hold_is_refused(run, tmp_path: Path) -> None:
    """An intermediate_size of 704 is not a multiple of 128, the block size of I2_S."""
    model = synthetic_checkpoint("2b4t,hidden=256,intermediate=704,layers=1,heads=4,kv_heads=2,vocab=64", tmp_path)
    result = run("convert", str(model), str(tmp_path / "model.gguf"), "--to", "gguf-i2s")
    assert result.exit_code == 1
    assert "704" in result.stderr
    assert list(tmp_path.iterdir()) == [model]
