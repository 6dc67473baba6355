"""A GGUF file of any architecture and tensor type that we support loads as the model that was written to it.

Other GGUF files are refused with an error that names the file.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from bitnet_tt.checkpoint import Checkpoint
from bitnet_tt.checkpoint.packing import pack, pair_rotary_rows, unpack, unpair_rotary_rows
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.formats.gguf import read, write_gguf
from bitnet_tt.weights import ModelWeights, bfloat16_to_float32, float32_to_bfloat16
from tests.checkpoint import small
from tests.checkpoint.small_gguf import permute, write_with_gguf_package


def assert_codes(weights: ModelWeights) -> None:
    """The weights have the ternary codes of `small.tensors()`."""
    stored = small.tensors()
    for index, layer in enumerate(weights.layers):
        for name in LINEAR_NAMES:
            expected = stored[f"model.layers.{index}.{small.linear_path(name)}.weight"][1]
            np.testing.assert_array_equal(layer.linear(name).packed, expected)


@pytest.mark.parametrize("linear", ["TQ1_0", "TQ2_0"])
@pytest.mark.parametrize("architecture", ["bitnet-b1.58", "bitnet-25", "bitnet", "llama"])
def test_ternary_blocks(tmp_path: Path, linear: str, architecture: str) -> None:
    checkpoint = Checkpoint.open(write_with_gguf_package(tmp_path / "x.gguf", linear, architecture=architecture))
    config = checkpoint.config
    assert checkpoint.format == "gguf"
    assert (config.hidden_size, config.num_key_value_heads, config.head_dim) == (256, 2, 64)
    assert (config.rms_norm_eps, config.rope_theta, config.max_position_embeddings) == (1e-5, 500000.0, 128)
    assert (config.bos_token_id, config.eos_token_ids) == (1, (2, 9))
    assert config.hidden_act == ("silu" if architecture in ("bitnet", "llama") else "relu2")
    assert config.sub_norms == (architecture != "llama")
    assert config.tie_word_embeddings
    weights = checkpoint.load_weights()
    assert_codes(weights)
    assert weights.layers[0].q_proj.scale == 0.5
    np.testing.assert_array_equal(weights.embed_tokens, small.tensors()["model.embed_tokens.weight"][1])
    norm = bfloat16_to_float32(small.tensors()["model.norm.weight"][1])
    np.testing.assert_array_equal(weights.norm, norm)
    assert [note.split(",")[0] for note in checkpoint.notes] == (
        ["the file has no bitnet.hidden_activation"] if architecture == "bitnet" else []
    )


LOSSY = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")


@pytest.mark.parametrize("embedding", ["F32", "F16", "BF16", *LOSSY])
def test_embeddings(tmp_path: Path, embedding: str) -> None:
    checkpoint = Checkpoint.open(write_with_gguf_package(tmp_path / "x.gguf", embedding=embedding))
    weights = checkpoint.load_weights()
    expected = bfloat16_to_float32(small.tensors()["model.embed_tokens.weight"][1])
    tolerance = {"Q4": 0.13, "Q5": 0.07, "Q8": 0.01}.get(embedding[:2], 0)
    np.testing.assert_allclose(bfloat16_to_float32(weights.embed_tokens), expected, atol=tolerance)
    assert bool(checkpoint.notes) == (embedding in LOSSY)


@pytest.mark.parametrize("head", ["Q6_K", "Q8_0"])
@pytest.mark.parametrize("embedding", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "TQ1_0", "TQ2_0"])
def test_embeddings_and_heads_of_llama_quantize(tmp_path: Path, embedding: str, head: str) -> None:
    """llama-quantize stores the embedding of TQ1_0 and TQ2_0 files as Q4_K, and an lm_head of its own as Q6_K.

    With --pure, it stores the embedding like the other matrices.
    """
    values = np.random.default_rng(6).normal(0, 1, (small.VOCAB, small.HIDDEN)).astype(np.float32)
    path = write_with_gguf_package(
        tmp_path / "x.gguf", embedding=embedding, architecture="llama", extra={"output.weight": values}, head=head
    )
    checkpoint = Checkpoint.open(path)
    assert not checkpoint.config.tie_word_embeddings
    weights = checkpoint.load_weights()
    stored = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name, found in (("token_embd.weight", weights.embed_tokens), ("output.weight", weights.lm_head)):
        expected = gguf.quants.dequantize(stored[name].data, stored[name].tensor_type)
        np.testing.assert_array_equal(found, float32_to_bfloat16(expected), err_msg=name)
    exact = embedding.startswith("TQ")  # the largest values of `small.tensors()`, which are bfloat16
    assert checkpoint.notes == [
        *([] if exact else [f"token_embd.weight is stored as {embedding} and was rounded to bfloat16"]),
        f"output.weight is stored as {head} and was rounded to bfloat16",
    ]


def test_untied_head(tmp_path: Path) -> None:
    head = np.full((small.VOCAB, small.HIDDEN), 0.5, np.float32)
    checkpoint = Checkpoint.open(write_with_gguf_package(tmp_path / "x.gguf", extra={"output.weight": head}))
    assert not checkpoint.config.tie_word_embeddings
    assert (checkpoint.load_weights().lm_head == 0x3F00).all()


def test_rotary_pairs() -> None:
    codes = small.random_codes((256, 16))
    paired = pair_rotary_rows(pack(codes), heads=4)
    np.testing.assert_array_equal(unpack(paired), permute(codes, 4))
    np.testing.assert_array_equal(unpair_rotary_rows(paired, heads=4), pack(codes))


def test_other_models_are_refused(tmp_path: Path) -> None:
    def refused(message: str, **options: object) -> None:
        path = tmp_path / "x.gguf"
        path.unlink(missing_ok=True)
        with pytest.raises((CheckpointError, ConfigError), match=message) as caught:
            Checkpoint.open(write_with_gguf_package(path, **options)).load_weights()  # type: ignore[arg-type]
        assert str(path) in str(caught.value)

    refused(r"architecture 'qwen2', which is not supported\. Supported", architecture="qwen2")
    refused(r"blk\.0\.attn_q\.weight has type F16 instead of a ternary one .* download the I2_S", linear="F16")
    refused(r"blk\.0\.attn_q\.weight has type Q4_0 instead of a ternary one", linear="Q4_0")
    refused(
        r"rope_freqs\.weight has no place .* check general\.architecture and block_count in its metadata",
        extra={"rope_freqs.weight": np.ones(32, np.float32)},
    )
    refused("weight scale of 0.0", scale=0.0)


def test_a_file_without_an_architecture_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", {"general.name": "x"}, [])
    with pytest.raises(CheckpointError, match=r"x\.gguf has architecture None, which is not supported"):
        Checkpoint.open(tmp_path / "x.gguf")


def test_a_missing_tensor_has_the_name_that_the_file_would_give_it(tmp_path: Path) -> None:
    path = write_with_gguf_package(tmp_path / "x.gguf")
    path.write_bytes(path.read_bytes().replace(b"blk.1.attn_sub_norm", b"blk.1.attn_sub_nose"))
    with pytest.raises(CheckpointError, match=r"tensor blk\.1\.attn_sub_norm\.weight is missing") as caught:
        Checkpoint.open(path).load_weights()
    assert "config.json" not in str(caught.value)
    assert "block_count in its metadata" in str(caught.value)


@pytest.mark.parametrize("linear", ["TQ1_0", "TQ2_0"])
def test_unequal_block_scales_are_refused(tmp_path: Path, linear: str) -> None:
    path = write_with_gguf_package(tmp_path / "x.gguf", linear)
    tensor = read(path).tensors["blk.1.ffn_up.weight"]
    data = bytearray(path.read_bytes())
    block = tensor.size // (512 * 256 // 256)
    data[tensor.offset + 3 * block - 2 : tensor.offset + 3 * block] = np.float16(0.25).tobytes()
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"blk\.1\.ffn_up\.weight has blocks with different scales"):
        Checkpoint.open(path).load_weights()


def test_blocks_of_zeros_may_have_no_scale(tmp_path: Path) -> None:
    path = write_with_gguf_package(tmp_path / "x.gguf", "TQ2_0")
    tensor = read(path).tensors["blk.1.ffn_up.weight"]
    data = bytearray(path.read_bytes())
    data[tensor.offset : tensor.offset + 66] = b"\x55" * 64 + b"\0\0"
    path.write_bytes(data)
    matrix = Checkpoint.open(path).load_weights().layers[1].up_proj
    assert (unpack(matrix.packed)[0] == 1).all()
    assert matrix.scale == 0.5
