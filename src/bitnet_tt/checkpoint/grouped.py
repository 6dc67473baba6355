"""Read ternary matrices with a scale for each group of columns: blocks of Q2_0, and floats of only -s, 0 and s."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.checkpoint.check import check_values, count_values
from bitnet_tt.checkpoint.floats import to_float32
from bitnet_tt.checkpoint.names import EMBEDDING, LM_HEAD, layer_prefix, linear_path
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf import BLOCKS
from bitnet_tt.formats.tensor import StoredTensor
from bitnet_tt.weights import GROUPED_ROWS, GroupedMatrix, grouped_shape

GROUPED_TYPES = ("Q2_0", "Q2_0 in blocks of 128", "PQ2_0")
"""The GGUF tensor types with a scale for each block of 2-bit codes. All have one layout, see `read_blocks`."""

GROUP_SIZES = (128, 64)
_FLOAT_TYPES = ("F16", "BF16", "F32")
_CHUNK_BYTES = 1 << 22
_PROBED_ROWS = 16
_SCALE_BYTES = 2 * GROUPED_ROWS
GROUPS_NOTE = (
    "activations are quantised to int8 in the groups of the weights, which the model's authors do not do; `bitnet-tt "
    "self-test` shows what that changes"
)
_PLUS_TWO_NOTE = (
    "some weights are +2 times their scale (code 3 of Q2_0), as the file has them; they are computed exactly"
)


def read_blocks(tensor: StoredTensor, notes: list[str]) -> GroupedMatrix:
    """Read a tensor [out, in] of one of `GROUPED_TYPES`.

    A block is a float16 scale d and then 2 bits for each of 64 or 128 columns of a row, lowest bits first: the weight
    is (code - 1) * d. So the code 3 stands for +2 * d, which is kept. Only the order of the bytes changes.

    Args:
        tensor: The tensor.
        notes: Where to tell that the code 3 occurs.

    Raises:
        CheckpointError: A scale is NaN or infinite, or nearly all weights have the same value.
    """
    group, size = BLOCKS[tensor.dtype]
    out_features, in_features = tensor.shape
    matrix = empty_matrix(out_features, in_features, group)
    stored = tensor.raw().reshape(out_features, -1, size)
    step = max(1, _CHUNK_BYTES // (GROUPED_ROWS * stored[0].size)) * GROUPED_ROWS
    counts = np.zeros(4, np.int64)
    for start in range(0, out_features, step):
        rows = stored[start : start + step]
        counts += _place(matrix, start, np.ascontiguousarray(rows[:, :, :2]), np.ascontiguousarray(rows[:, :, 2:]))
    _check(tensor, matrix, counts)
    if counts[3] and _PLUS_TWO_NOTE not in notes:
        notes.append(_PLUS_TWO_NOTE)
    tensor.release()
    return matrix


def write_blocks(matrix: GroupedMatrix) -> Iterator[NDArray[np.uint8]]:
    """Yield the rows of a matrix as blocks of Q2_0, uint8 [rows, groups, 2 + group / 4]. Undoes `read_blocks`."""
    groups = matrix.in_features // matrix.group
    step = max(1, _CHUNK_BYTES // matrix.blocks[0].size)
    for start in range(0, len(matrix.blocks), step):
        records = matrix.blocks[start : start + step].reshape(-1, groups, GROUPED_ROWS * (2 + matrix.group // 4))
        scales = records[:, :, :_SCALE_BYTES].reshape(len(records), groups, GROUPED_ROWS, 2)
        words = records[:, :, _SCALE_BYTES:].reshape(len(records), groups, -1, GROUPED_ROWS, 4)
        codes = words.transpose(0, 3, 1, 2, 4).reshape(len(records), GROUPED_ROWS, groups, -1)
        rows = np.concatenate([scales.swapaxes(1, 2), codes], axis=3).reshape(-1, groups, 2 + matrix.group // 4)
        yield rows[: matrix.out_features - start * GROUPED_ROWS]


def read_floats(tensor: StoredTensor, group: int) -> GroupedMatrix:
    """Read float weights [out, in] whose groups hold only -s, 0 and s: ternary weights multiplied by their scale.

    Args:
        tensor: The tensor.
        group: Columns that share a scale.

    Raises:
        CheckpointError: A group holds other values, or a scale that float16 does not hold; or nearly all weights have
            the same value.
    """
    out_features, in_features = tensor.shape
    if in_features % group:
        raise tensor.error(f"has {in_features} columns, which are not whole groups of {group}")
    matrix = empty_matrix(out_features, in_features, group)
    step = max(1, _CHUNK_BYTES // (4 * in_features * GROUPED_ROWS)) * GROUPED_ROWS
    counts = np.zeros(4, np.int64)
    for start in range(0, out_features, step):
        values = to_float32(tensor.rows(start, start + step))
        scales, codes = _ternary_groups(values, group)
        if codes is None:
            raise tensor.error(
                f"is not ternary: a group of {group} columns holds more than one size of weight beside 0, or one that "
                "float16 does not hold, while other weights of this model are; download the original again"
            )
        packed = np.bitwise_or.reduce(codes.reshape(*scales.shape, -1, 4) << np.arange(0, 8, 2, np.uint8), axis=-1)
        counts += _place(matrix, start, scales[:, :, None].view(np.uint8), packed)
    _check(tensor, matrix, counts)
    tensor.release()
    return matrix


def find_group(tensor: StoredTensor) -> int | None:
    """Return the size of the groups by which the first rows of a float tensor are ternary; None if they are not.

    If all their weights have one size, the tensor may have one scale, and the answer is None.
    """
    if tensor.dtype not in _FLOAT_TYPES or len(tensor.shape) != 2 or tensor.shape[1] % min(GROUP_SIZES):
        return None
    values = to_float32(tensor.rows(0, _PROBED_ROWS))
    for group in GROUP_SIZES:
        if values.shape[1] % group == 0:
            scales, codes = _ternary_groups(values, group)
            if codes is not None and len(np.unique(scales)) > 1:
                return group
    return None


def find_ordinary_group(data: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> int | None:
    """Return the size of the groups of a Qwen3 folder that does not say that its weights are ternary.

    Such are the "unpacked" folders of Ternary-Bonsai. The first linear decides; `read_floats` checks all of them.

    Args:
        data: Its config.json.
        tensors: Every tensor.
    """
    if data.get("model_type") != "qwen3" or data.get("quantization_config"):
        return None
    first = f"{layer_prefix(0)}{linear_path('q_proj')}.weight"
    return find_group(tensors[first]) if first in tensors else None


def stored_group(where: str, config: ModelConfig, tensors: Mapping[str, StoredTensor]) -> int | None:
    """Return the size of the groups that the linears of a GGUF file have; None if they have no group scales.

    Args:
        where: The file, for error messages.
        config: Its configuration, without the groups.
        tensors: Every tensor, by canonical name.

    Raises:
        CheckpointError: Two linears differ, or the architecture is not Qwen3.
    """
    groups = {
        BLOCKS[tensor.dtype][0] if tensor.dtype in GROUPED_TYPES else None: tensor
        for name, tensor in tensors.items()
        if name.endswith("_proj.weight")
    }
    if set(groups) <= {None}:
        return None
    if len(groups) > 1:
        one, other, *_ = groups.values()
        raise other.error(
            f"has type {other.dtype}, but tensor {one.name} has type {one.dtype}: the linears of a model must all have "
            "scales for groups of one size; download a file of Q2_0 or PQ2_0 alone"
        )
    if config.architecture != "qwen3":
        raise CheckpointError(
            f"{where} has scales for groups of weights in the {config.architecture} architecture; they are supported "
            "in qwen3 alone, for prism-ml's Ternary-Bonsai"
        )
    return next(iter(groups))


def with_groups(
    config: ModelConfig, group: int | None, tensors: Mapping[str, StoredTensor] | None = None
) -> ModelConfig:
    """Return a configuration that says which matrices have group scales.

    Args:
        config: The configuration.
        group: The size of the groups of the linears; None changes nothing.
        tensors: Every tensor of a GGUF file, by canonical name, whose types say whether the embedding and the lm_head
            are ternary. None: both are.
    """
    if group is None:
        return config

    def is_ternary(name: str) -> bool:
        return tensors is None or (name in tensors and tensors[name].dtype in GROUPED_TYPES)

    quantization = replace(
        config.quantization,
        group_size=group,
        ternary_embedding=is_ternary(EMBEDDING),
        ternary_head=is_ternary(EMBEDDING if config.tie_word_embeddings else LM_HEAD),
    )
    return replace(config, quantization=quantization)


def empty_matrix(out_features: int, in_features: int, group: int) -> GroupedMatrix:
    """Return a matrix of zeros: all scales are 0."""
    blocks = np.zeros(grouped_shape(out_features, in_features, group), np.uint8)
    return GroupedMatrix(blocks, out_features, in_features, group)


def _place(matrix: GroupedMatrix, start: int, scales: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Put rows into a matrix.

    Args:
        matrix: The matrix.
        start: The first row, a multiple of 16.
        scales: The bytes of the rows' scales, [rows, groups, 2].
        codes: The rows' codes, [rows, groups, group / 4], contiguous.

    Returns:
        How often each of the four codes occurs.
    """
    rows, groups = codes.shape[:2]
    blocks = matrix.blocks[start // GROUPED_ROWS : -(-(start + rows) // GROUPED_ROWS)]
    records = blocks.reshape(len(blocks), groups, -1)
    missing = len(blocks) * GROUPED_ROWS - rows
    if missing:  # of the last 16 rows
        scales = np.concatenate([scales, np.zeros((missing, *scales.shape[1:]), np.uint8)])
        codes = np.concatenate([codes, np.zeros((missing, *codes.shape[1:]), np.uint8)])
    records[:, :, :_SCALE_BYTES] = (
        scales.reshape(len(blocks), GROUPED_ROWS, groups, 2).swapaxes(1, 2).reshape(len(blocks), groups, _SCALE_BYTES)
    )
    words = codes.view(np.uint32).reshape(len(blocks), GROUPED_ROWS, groups, -1).transpose(0, 2, 3, 1)
    records[:, :, _SCALE_BYTES:] = np.ascontiguousarray(words).view(np.uint8).reshape(len(blocks), groups, -1)
    return count_values(codes[:rows])


def _ternary_groups(values: NDArray[np.float32], group: int) -> tuple[NDArray[np.float16], NDArray[np.uint8] | None]:
    """Return scales float16 [rows, groups] and codes [rows, in]; None for codes if the values are not ternary."""
    groups = values.reshape(len(values), -1, group)
    sizes = np.abs(groups).max(axis=2)
    scales = sizes.astype(np.float16)
    exact = np.array_equal(scales.astype(np.float32), sizes)
    if not exact or not ((groups == 0) | (np.abs(groups) == sizes[:, :, None])).all():
        return scales, None
    return scales, (np.sign(groups).astype(np.int8) + 1).astype(np.uint8).reshape(values.shape)


def _check(tensor: StoredTensor, matrix: GroupedMatrix, counts: NDArray[np.int64]) -> None:
    groups = matrix.in_features // matrix.group
    scales = matrix.blocks.reshape(len(matrix.blocks), groups, -1)[:, :, 1:_SCALE_BYTES:2]
    if ((scales & 0x7C) == 0x7C).any():  # only NaN and infinity have an exponent of all ones
        raise tensor.error("holds a scale that is NaN or infinite; the file is damaged: download the original again")
    check_values(tensor, counts.tolist())
