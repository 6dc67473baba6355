"""Weights as tensors on the card, and a cache of converted weights on disk that makes a second start faster."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.card import Card
from bitnet_tt.backends.tt.device.head_tiles import head_streams
from bitnet_tt.backends.tt.device.ternary_codes import ternary_streams
from bitnet_tt.backends.tt.planning.grid import TILE, UINT32_BYTES
from bitnet_tt.backends.tt.planning.placement import place_streams
from bitnet_tt.backends.tt.planning.streams import Streams
from bitnet_tt.weights import TernaryMatrix

_QUANTIZER_MAX = np.float32(127.0)
"""The largest integer of a quantised activation."""


@dataclass(frozen=True, slots=True)
class StreamedWeights:
    """Weights on the card, as the streams of its cores.

    Attributes:
        tensor: uint32 [cores, bytes of a core's stream / 4], row-major.
        streams: How the weights are dealt out to the cores.
        stream_of_core: For each core its stream, see `place_streams`.
    """

    tensor: ttnn.Tensor
    streams: Streams
    stream_of_core: tuple[int, ...]

    @property
    def tables(self) -> dict[str, tuple[int, ...]]:
        """The table that every kernel needs which asks for its stream, see stream.hpp."""
        return {"STREAM_OF_CORE": self.stream_of_core}


@dataclass(frozen=True, slots=True)
class TernaryWeights(StreamedWeights):
    """Ternary matrices that read the same input.

    Attributes:
        scales: The factor of each matrix's outputs: weight scale / 127.
        widths: Outputs of each matrix.
    """

    scales: tuple[float, ...]
    widths: tuple[int, ...]


def load_ternary(
    card: Card, matrices: Sequence[TernaryMatrix], streams: Streams, outputs: Sequence[range] | None = None
) -> TernaryWeights:
    """Put ternary matrices on the card, or some outputs of each.

    Args:
        card: The card.
        matrices: Matrices [out, in] with the same `in`. If the streams are gated: gate and up.
        streams: How they are dealt out to the cores.
        outputs: For each matrix, the outputs to put there, in whole tiles. None means all.
    """
    sources = [matrix.packed for matrix in matrices]
    scales = tuple(float(matrix.scale / _QUANTIZER_MAX) for matrix in matrices)
    whole = [range(matrix.out_features) for matrix in matrices]
    outputs = list(outputs or whole)
    form = repr(streams) if outputs == whole else f"{streams} {outputs}"
    streamed = _streamed(card, streams, sources, form, lambda: ternary_streams(matrices, streams, outputs))
    return TernaryWeights(*streamed, scales, tuple(map(len, outputs)))


def load_lm_head(card: Card, lm_head: NDArray[np.uint16], streams: Streams) -> StreamedWeights:
    """Put the lm_head, bfloat16 bits [vocab, hidden], on the card."""
    return StreamedWeights(*_streamed(card, streams, [lm_head], repr(streams), lambda: head_streams(lm_head, streams)))


def _streamed(
    card: Card,
    streams: Streams,
    sources: Sequence[NDArray[Any]],
    form: str,
    convert: Callable[[], NDArray[np.uint32]],
) -> tuple[ttnn.Tensor, Streams, tuple[int, ...]]:
    """Return the fields of `StreamedWeights`.

    The streams are converted only if their file is not in ttnn's cache folder. A file is named by a digest of their
    form and sources, so no file is ever out of date. A file that ttnn cannot read, or whose tensor has another form, is
    converted again. If the folder cannot be written, nothing is kept.
    """
    placed = place_streams(streams.cores, card.grid, card.beside_banks)
    path = Path(ttnn.CONFIG.model_cache_path) / "bitnet-tt" / f"{_digest(sources, form)}.tensorbin"
    if path.exists():
        with contextlib.suppress(RuntimeError):
            tensor = ttnn.load_tensor(path, device=card.device)
            found = tuple(tensor.shape), tensor.dtype, tensor.layout
            if found == ((streams.cores, streams.bytes // UINT32_BYTES), ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT):
                return tensor, streams, placed
        path.unlink(missing_ok=True)
    host = ttnn.Tensor(convert(), ttnn.uint32, None, ttnn.ROW_MAJOR_LAYOUT)
    with contextlib.suppress(OSError):
        save_tensor(path, host)
    return host.to(card.device), streams, placed


def padded_row(card: Card, values: NDArray[np.float32]) -> ttnn.Tensor:
    """Put a vector on the card: float32 [1, n], row-major, zeros up to a multiple of 1024, the elements of a tile."""
    padded = np.zeros((1, -(-len(values) // TILE**2) * TILE**2), np.float32)
    padded[0, : len(values)] = values
    return card.rows(padded, ttnn.float32)


def _digest(sources: Sequence[NDArray[Any]], form: str) -> str:
    """Return a digest of ttnn's version, the form, and the shapes and bytes of the sources."""
    digest = hashlib.blake2b(f"{version('ttnn')} {form}".encode(), digest_size=20)
    for source in sources:
        digest.update(str(source.shape).encode())
        digest.update(np.ascontiguousarray(source).data)
    return digest.hexdigest()


def save_tensor(path: Path, tensor: ttnn.Tensor) -> None:
    """Write a tensor to a file. The file appears under its name only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        ttnn.dump_tensor(unfinished, tensor)
        unfinished.replace(path)
