"""ModelWeights as the native decoder takes them: checked, and ternary matrices put where they are read from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.arena import Room, rooms
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.weights import LINEAR_NAMES, LayerWeights, TernaryMatrix, file_place

# Sums of products of codes in the top bits of a byte stay within an int32 up to here.
_MAX_IN_FEATURES = 1 << 20


def load_table(name: str, table: NDArray[np.uint16], config: ModelConfig) -> _native.Table:
    """A bfloat16 [vocab, hidden] table, where it lies.

    Raises:
        CheckpointError: It has the wrong dtype or shape, or lies with gaps.
    """
    _check(name, table, np.uint16, (config.vocab_size, config.hidden_size))
    descriptor, offset = file_place(table) or (-1, 0)
    return _native.Table(table.view(np.uint8), descriptor, offset)


def load_norm(name: str, gain: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """A gain float32 [size], aligned."""
    _check(name, gain, np.float32, (size,))
    return np.require(gain, requirements=["C", "A"])


def load_layers(layers: Sequence[LayerWeights], config: ModelConfig, *, threads: int, isa: str) -> list[_native.Layer]:
    """The decoder layers; their arrays stay alive with them.

    Args:
        layers: Their weights.
        config: The model's shape.
        threads: How many load, and how many will run the model.
        isa: The instruction set that will, empty for the fastest.

    Raises:
        CheckpointError: An array has the wrong dtype or shape, or lies with gaps.
    """
    for index, layer in enumerate(layers):
        _check_matrices(index, layer, config)
    homes = rooms(layers, threads=threads, isa=isa)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_load_layer, range(len(layers)), layers, repeat(config), homes))


def _check_matrices(index: int, layer: LayerWeights, config: ModelConfig) -> None:
    hidden, intermediate = config.hidden_size, config.intermediate_size
    query = config.num_attention_heads * config.head_dim
    key = config.num_key_value_heads * config.head_dim
    shapes = {
        "q_proj": (query, hidden),
        "k_proj": (key, hidden),
        "v_proj": (key, hidden),
        "o_proj": (hidden, query),
        "gate_proj": (intermediate, hidden),
        "up_proj": (intermediate, hidden),
        "down_proj": (hidden, intermediate),
    }
    for name in LINEAR_NAMES:
        out_features, in_features = shapes[name]
        where = f"layers.{index}.{name}"
        if in_features > _MAX_IN_FEATURES:
            raise CheckpointError(
                f"{where} has {in_features} columns; the CPU backend takes at most {_MAX_IN_FEATURES}"
            )
        _check(where, getattr(layer, name).packed, np.uint8, (out_features // 4, in_features))


def _load_layer(index: int, layer: LayerWeights, config: ModelConfig, room: Room) -> _native.Layer:
    hidden, intermediate = config.hidden_size, config.intermediate_size
    where = f"layers.{index}."

    def optional_norm(name: str, gain: NDArray[np.float32] | None, size: int) -> NDArray[np.float32] | None:
        return None if gain is None else load_norm(where + name, gain, size)

    return _native.Layer(
        input_layernorm=load_norm(where + "input_layernorm", layer.input_layernorm, hidden),
        post_attention_layernorm=load_norm(where + "post_attention_layernorm", layer.post_attention_layernorm, hidden),
        attn_sub_norm=optional_norm("attn_sub_norm", layer.attn_sub_norm, layer.o_proj.in_features),
        ffn_sub_norm=optional_norm("ffn_sub_norm", layer.ffn_sub_norm, intermediate),
        linears=[_load_linear(where + name, getattr(layer, name), room) for name in LINEAR_NAMES],
    )


def _load_linear(name: str, matrix: TernaryMatrix, room: Room) -> _native.Linear:
    input_norm = matrix.input_norm
    if input_norm is not None:
        input_norm = load_norm(name + ".input_norm", input_norm, matrix.in_features)
    placed = room.place(matrix)
    return _native.Linear(placed.packed, float(matrix.scale), input_norm, placed.dense)


def _check(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(
            f"{name} is {array.dtype} {list(array.shape)}; the model's config asks for {np.dtype(dtype)} {list(shape)}"
        )
    if not array.flags.c_contiguous:
        raise CheckpointError(f"{name} lies with gaps in memory; the CPU backend needs it C-contiguous")
