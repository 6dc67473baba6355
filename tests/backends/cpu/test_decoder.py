"""The native decoder checks the shape of each weight by name, and tells how much memory a KV cache takes."""

from typing import Any

import numpy as np
import pytest

from bitnet_tt import _native
from bitnet_tt.backends.cpu.backend import CPUBackend
from bitnet_tt.config import LINEAR_NAMES
from bitnet_tt.errors import DeviceError
from tests.backends.cpu.random_models import BITNET, random_model

# No two of these sizes are equal, so the decoder cannot mistake one for another.
HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 96, 204, 6, 2, 20, 8
SHAPES = {
    "q_proj": (HEADS * HEAD_DIM, HIDDEN),
    "k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "o_proj": (HIDDEN, HEADS * HEAD_DIM),
    "gate_proj": (INTERMEDIATE, HIDDEN),
    "up_proj": (INTERMEDIATE, HIDDEN),
    "down_proj": (HIDDEN, INTERMEDIATE),
}


def decoder_with(**changed: tuple[int, int]) -> _native.Decoder:
    """Return a decoder of one layer whose linears have `SHAPES`, but for those in `changed`."""
    fields: dict[str, Any] = {
        name: _native.Linear(np.zeros((out // 4, inputs), np.uint8), 1.0, None)
        for name, (out, inputs) in (SHAPES | changed).items()
    }
    gain = np.ones(HIDDEN, np.float32)
    table = _native.Table(np.zeros((VOCAB, 2 * HIDDEN), np.uint8))
    return _native.Decoder(
        shape=_native.Shape(
            vocab=VOCAB,
            hidden=HIDDEN,
            intermediate=INTERMEDIATE,
            heads=HEADS,
            kv_heads=KV_HEADS,
            head_dim=HEAD_DIM,
            norm_eps=1e-5,
            input_norm_eps=1e-5,
            act=_native.HiddenAct.relu2,
        ),
        embedding=table,
        layers=[_native.Layer(input_layernorm=gain, post_attention_layernorm=gain, **fields)],
        norm=gain,
        head=table,
        cos=np.ones((16, HEAD_DIM // 2), np.float32),
        sin=np.ones((16, HEAD_DIM // 2), np.float32),
        threads=1,
        thread_work=1,
        isa="scalar",
    )


def test_weight_bytes_count_all_linears_and_the_tied_table() -> None:
    assert tuple(SHAPES) == LINEAR_NAMES
    linears = sum(out * inputs // 4 for out, inputs in SHAPES.values())
    assert decoder_with().weight_bytes == linears + 2 * VOCAB * HIDDEN


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("more_outputs", "more_inputs"), [(4, 0), (0, 1), (-4, 0)])
def test_a_linear_of_another_shape_is_named(name: str, more_outputs: int, more_inputs: int) -> None:
    out, inputs = SHAPES[name]
    with pytest.raises(ValueError, match=f"a layer's {name} does not have the model's shape"):
        decoder_with(**{name: (out + more_outputs, inputs + more_inputs)})


def test_a_cache_is_refused_exactly_if_it_takes_more_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = CPUBackend(BITNET, random_model(BITNET))
    backend.allocate(16, 16)
    size = backend.stats().kv_cache_bytes
    assert size == 16 * 16 * BITNET.num_hidden_layers * 2 * BITNET.num_key_value_heads * 32 * 4  # head_dim 20 -> 32
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.memory_limit", lambda: size)
    backend.allocate(16, 16)
    monkeypatch.setattr("bitnet_tt.backends.cpu.backend.memory_limit", lambda: size - 1)
    with pytest.raises(DeviceError, match=r"a key/value cache of 256 positions takes 0\.0 GiB"):
        backend.allocate(16, 16)
