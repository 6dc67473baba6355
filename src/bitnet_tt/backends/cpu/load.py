"""Checks ModelWeights, puts ternary matrices in arenas, and makes the objects that the native decoder takes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.arena import LayerArena, allocate_arenas
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import LayerWeights, TernaryMatrix

# The kernels' sums fit in an int32 up to this many columns. Some kernels multiply codes where they are, in the top bits
# of a byte, which makes the sums larger; native/kernels/isa/avx_vnni.cpp sets the limit.
_MAX_IN_FEATURES = 1 << 20


def load_table(name: str, table: NDArray[np.uint16], config: ModelConfig) -> _native.Table:
    """Return a bfloat16 table [vocab, hidden] for native code, not copied.

    Raises:
        CheckpointError: The table has the wrong dtype or shape, or is not C-contiguous.
    """
    _check(name, table, np.uint16, (config.vocab_size, config.hidden_size))
    region = region_of(table)
    descriptor, offset = (region.file.descriptor, region.offset) if region else (-1, 0)
    return _native.Table(table.view(np.uint8), descriptor, offset)


def load_norm(name: str, gain: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return a norm's gain, float32 [size], copied only if it is not aligned.

    Raises:
        CheckpointError: The gain has the wrong dtype or shape, or is not C-contiguous.
    """
    _check(name, gain, np.float32, (size,))
    return np.require(gain, requirements=["C", "A"])


def load_layers(layers: Sequence[LayerWeights], config: ModelConfig, *, threads: int, isa: str) -> list[_native.Layer]:
    """Return the decoder layers for native code. They keep their arrays alive.

    Args:
        layers: The weights of each layer.
        config: The model's shape.
        threads: How many threads load the layers now and run the model later.
        isa: The instruction set that runs the model, empty for the fastest.

    Raises:
        CheckpointError: An array has the wrong dtype or shape, or is not C-contiguous; or a layer has other norms than
            the config says.
    """
    for index, layer in enumerate(layers):
        _check_layer(index, layer, config)
    arenas = allocate_arenas(layers, threads=threads, isa=isa)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_load_layer, range(len(layers)), layers, repeat(config), arenas))


def _check_layer(index: int, layer: LayerWeights, config: ModelConfig) -> None:
    """Check which norms the layer has, and its ternary matrices. `load_norm` checks the norms' shapes."""
    for name in ("attn_sub_norm", "ffn_sub_norm"):
        present = getattr(layer, name) is not None
        if present != config.sub_norms:
            problem = "is given, but the model's config has no sub-norms" if present else "is missing"
            raise CheckpointError(f"layers.{index}.{name} {problem}")
    for name, (out_features, in_features) in config.linear_shapes.items():
        where = f"layers.{index}.{name}"
        if in_features > _MAX_IN_FEATURES:
            raise CheckpointError(
                f"{where} has {in_features} columns; the CPU backend takes at most {_MAX_IN_FEATURES}"
            )
        _check(where, layer.linear(name).packed, np.uint8, (out_features // 4, in_features))


def _load_layer(index: int, layer: LayerWeights, config: ModelConfig, arena: LayerArena) -> _native.Layer:
    where = f"layers.{index}."
    norms = {name: load_norm(where + name, getattr(layer, name), size) for name, size in config.norm_sizes.items()}
    linears = {name: _load_linear(where + name, layer.linear(name), arena) for name in config.linear_shapes}
    fields: dict[str, Any] = {**norms, **linears}
    return _native.Layer(**fields)


def _load_linear(name: str, matrix: TernaryMatrix, arena: LayerArena) -> _native.Linear:
    input_norm = matrix.input_norm
    if input_norm is not None:
        input_norm = load_norm(name + ".input_norm", input_norm, matrix.in_features)
    placed = arena.place(matrix)
    return _native.Linear(placed.packed, float(matrix.scale), input_norm, placed.dense)


def _check(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(
            f"{name} is {array.dtype} {list(array.shape)}; the model's config asks for {np.dtype(dtype)} {list(shape)}"
        )
    if not array.flags.c_contiguous:
        raise CheckpointError(f"{name} lies with gaps in memory; the CPU backend needs it C-contiguous")
