"""Checks ModelWeights, makes the objects that the native decoder takes, and moves ternary matrices to arenas."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.arena import Placed, allocate_arenas, ternary_matrices
from bitnet_tt.config import LINEAR_NAMES, ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.mapped import region_of
from bitnet_tt.weights import GroupedMatrix, LayerWeights, LinearWeights, TokenTable

# The kernels' sums fit in an int32 up to this many columns. Some kernels multiply codes where they are, in the top bits
# of a byte, which makes the sums larger; native/kernels/isa/avx_vnni.cpp sets the limit.
_MAX_IN_FEATURES = 1 << 20


def load_table(name: str, table: TokenTable, config: ModelConfig) -> _native.Table:
    """Return a table [vocab, hidden] for native code, not copied.

    Raises:
        CheckpointError: The table has the wrong dtype or shape, or is not C-contiguous.
    """
    if isinstance(table, GroupedMatrix):
        _check_grouped(name, table, (config.vocab_size, config.hidden_size))
        return _native.Table(_grouped(name, table))
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


def load_layers(layers: Sequence[LayerWeights], config: ModelConfig) -> list[_native.Layer]:
    """Check the decoder layers and return them for native code, not copied. They keep their arrays alive.

    Raises:
        CheckpointError: An array has the wrong dtype or shape, or is not C-contiguous; or a layer has other norms than
            the config says.
    """
    for index, layer in enumerate(layers):
        _check_layer(index, layer, config)
    return [
        _layer(index, layer, config, [Placed(matrix.packed) for matrix in ternary_matrices(layer)])
        for index, layer in enumerate(layers)
    ]


class LayerMover:
    """Moves the layers of a model into their arenas, one after another, between steps.

    Moving all of a large model takes as long as some tens of steps. So the first step reads the weights where they
    are, and its token comes sooner. The logits are the same bits before, meanwhile and after.
    """

    def __init__(self, layers: Sequence[LayerWeights], config: ModelConfig, *, threads: int, isa: str) -> None:
        """Allocate the arenas.

        Args:
            layers: The weights of each layer, which `load_layers` has checked.
            config: The model's shape.
            threads: How many threads move the layers and run the model.
            isa: The instruction set that runs the model, empty for the fastest.
        """
        self._config = config
        self._threads = threads
        arenas = allocate_arenas(layers, threads=threads, isa=isa)
        self._waiting = deque(zip(range(len(arenas)), layers, arenas, strict=False))

    def __len__(self) -> int:
        """Return the number of layers that wait."""
        return len(self._waiting)

    def clear(self) -> None:
        """Forget the layers that wait, and free their memory."""
        self._waiting.clear()

    def move(self, decoder: _native.Decoder) -> None:
        """Move the next layer. Its pages of a mapped file are released."""
        index, layer, arena = self._waiting.popleft()
        placed = arena.place(ternary_matrices(layer), self._threads)
        decoder.replace_layer(index, _layer(index, layer, self._config, placed))


def _check_layer(index: int, layer: LayerWeights, config: ModelConfig) -> None:
    """Check which norms the layer has, and its ternary matrices. `load_norm` checks the norms' shapes."""
    for name in ("attn_sub_norm", "ffn_sub_norm", "q_norm", "k_norm"):
        present = getattr(layer, name) is not None
        if present != (name in config.norm_sizes):
            problem = "is given, but the model's config has no such norm" if present else "is missing"
            raise CheckpointError(f"layers.{index}.{name} {problem}")
    for name, (out_features, in_features) in config.linear_shapes.items():
        where = f"layers.{index}.{name}"
        if in_features > _MAX_IN_FEATURES:
            raise CheckpointError(
                f"{where} has {in_features} columns; the CPU backend takes at most {_MAX_IN_FEATURES}"
            )
        matrix, group = layer.linear(name), config.quantization.group_size
        if isinstance(matrix, GroupedMatrix):
            if matrix.group != group:
                raise CheckpointError(f"{where} has groups of {matrix.group} columns; the model's config says {group}")
            _check_grouped(where, matrix, (out_features, in_features))
        elif group is not None:
            raise CheckpointError(f"{where} has one scale; the model's config says one for each {group} columns")
        else:
            _check(where, matrix.packed, np.uint8, (out_features // 4, in_features))


def _layer(index: int, layer: LayerWeights, config: ModelConfig, placed: Sequence[Placed]) -> _native.Layer:
    """Return a layer for native code.

    Args:
        index: Its number, for error messages.
        layer: Its weights.
        config: The model's shape.
        placed: Where its `ternary_matrices` are.
    """
    where = f"layers.{index}."
    places = iter(placed)
    norms = {name: load_norm(where + name, getattr(layer, name), size) for name, size in config.norm_sizes.items()}
    linears = {name: _linear(where + name, layer.linear(name), places) for name in LINEAR_NAMES}
    for name, adapter in layer.adapters.items():
        linears[name].adapt(adapter.a, adapter.b, float(adapter.scaling))
    fields: dict[str, Any] = {**norms, **linears}
    return _native.Layer(**fields)


def _linear(name: str, matrix: LinearWeights, places: Iterator[Placed]) -> _native.Linear:
    if isinstance(matrix, GroupedMatrix):
        return _grouped(name, matrix)
    placed = next(places)
    return _native.Linear(placed.packed, float(matrix.scale), _input_norm(name, matrix), placed.dense)


def _grouped(name: str, matrix: GroupedMatrix) -> _native.Linear:
    return _native.Linear(
        packed=matrix.blocks,
        out_features=matrix.out_features,
        in_features=matrix.in_features,
        group=matrix.group,
        input_norm=_input_norm(name, matrix),
    )


def _input_norm(name: str, matrix: LinearWeights) -> NDArray[np.float32] | None:
    if matrix.input_norm is None:
        return None
    return load_norm(name + ".input_norm", matrix.input_norm, matrix.in_features)


def _check_grouped(name: str, matrix: GroupedMatrix, shape: tuple[int, int]) -> None:
    if (matrix.out_features, matrix.in_features) != shape:
        raise CheckpointError(
            f"{name} is {[matrix.out_features, matrix.in_features]}; the model's config asks for {list(shape)}"
        )
    if matrix.group not in (64, 128) or matrix.in_features % matrix.group:
        raise CheckpointError(
            f"{name} has groups of {matrix.group} columns; the CPU backend takes groups of 64 or 128, and whole ones"
        )
    _check(name, matrix.blocks, np.uint8, matrix.blocks_shape)


def _check(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(
            f"{name} is {array.dtype} {list(array.shape)}; the model's config asks for {np.dtype(dtype)} {list(shape)}"
        )
    if not array.flags.c_contiguous:
        raise CheckpointError(f"{name} lies with gaps in memory; the CPU backend needs it C-contiguous")
