"""Checks ModelWeights, makes the objects that the native decoder takes, and moves ternary matrices to arenas."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt import _native
from bitnet_tt.backends.cpu.arena import Placed, allocate_arenas
from bitnet_tt.config import LINEAR_NAMES, ModelConfig
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


def load_layers(layers: Sequence[LayerWeights], config: ModelConfig) -> list[_native.Layer]:
    """Check the decoder layers and return them for native code, not copied. They keep their arrays alive.

    Raises:
        CheckpointError: An array has the wrong dtype or shape, or is not C-contiguous; or a layer has other norms than
            the config says.
    """
    for index, layer in enumerate(layers):
        _check_layer(index, layer, config)
    return [
        _layer(index, layer, config, [Placed(matrix.packed) for matrix in _matrices(layer)])
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
        placed = arena.place(_matrices(layer), self._threads)
        decoder.replace_layer(index, _layer(index, layer, self._config, placed))


def _matrices(layer: LayerWeights) -> list[TernaryMatrix]:
    return [layer.linear(name) for name in LINEAR_NAMES]


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
        _check(where, layer.linear(name).packed, np.uint8, (out_features // 4, in_features))


def _layer(index: int, layer: LayerWeights, config: ModelConfig, placed: Sequence[Placed]) -> _native.Layer:
    """Return a layer for native code, with the matrices, in the order of LINEAR_NAMES, where they are placed."""
    where = f"layers.{index}."
    norms = {name: load_norm(where + name, getattr(layer, name), size) for name, size in config.norm_sizes.items()}
    linears = {
        name: _linear(where + name, layer.linear(name), place) for name, place in zip(LINEAR_NAMES, placed, strict=True)
    }
    fields: dict[str, Any] = {**norms, **linears}
    return _native.Layer(**fields)


def _linear(name: str, matrix: TernaryMatrix, placed: Placed) -> _native.Linear:
    input_norm = matrix.input_norm
    if input_norm is not None:
        input_norm = load_norm(name + ".input_norm", input_norm, matrix.in_features)
    return _native.Linear(placed.packed, float(matrix.scale), input_norm, placed.dense)


def _check(name: str, array: NDArray[np.generic], dtype: type[np.generic], shape: tuple[int, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise CheckpointError(
            f"{name} is {array.dtype} {list(array.shape)}; the model's config asks for {np.dtype(dtype)} {list(shape)}"
        )
    if not array.flags.c_contiguous:
        raise CheckpointError(f"{name} lies with gaps in memory; the CPU backend needs it C-contiguous")
