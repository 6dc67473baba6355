"""Read and write safetensors files. A reader checks the whole header before anything of the file is used.

Layout of a file (github.com/huggingface/safetensors): the length of the header in 8 bytes, little-endian; the header, a
JSON object `name -> {dtype, shape, data_offsets}`; then the tensors' bytes, back to back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.array_writer import ArrayWriter
from bitnet_tt.formats.tensor import DAMAGED, PLAIN_DTYPES, Progress, StoredTensor
from bitnet_tt.mapped import MappedFile

_MAX_HEADER_BYTES = 100_000_000
"""The limit that the specification sets."""

_DATA_ALIGNMENT = 64
"""The tensors of a file that we write begin at a multiple of this many bytes."""

_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_ITEM_BYTES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
_DTYPE_NAMES = {np.dtype(array_type): name for name, array_type in PLAIN_DTYPES.items()}


def read_folder(folder: Path) -> dict[str, StoredTensor]:
    """Find every tensor of the model in a folder, which may be split into several files (shards).

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: There is no safetensors file, a shard is missing, or a file is damaged.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not single.exists() and index.exists():
        return _read_shards(folder, index)
    found = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} has {len(found)} safetensors files but no model.safetensors.index.json, which lists the files "
            "of the model; download the index too"
        )
    if not found:
        raise no_model_error(str(folder), [entry.name for entry in folder.iterdir()])
    return read_file(found[0])


def read_file(path: Path) -> dict[str, StoredTensor]:
    """Read the header of one file and find its tensors.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: The file is not safetensors or is truncated, or its header contradicts itself or the file.
    """
    file = MappedFile(path)
    header_size = int.from_bytes(file.read(0, 8), "little")
    if file.size < 10 or header_size > _MAX_HEADER_BYTES or 8 + header_size > file.size:
        raise CheckpointError(f"{path} is not a complete safetensors file: its header does not fit in it; {DAMAGED}")
    header = _parse_json(f"{path}: the header", file.read(8, header_size))
    header.pop("__metadata__", None)
    start = 8 + header_size
    tensors = [_read_entry(file, start, name, entry) for name, entry in header.items()]
    end = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != end:
            raise tensor.error(
                f"begins at byte {tensor.offset}, but the tensor before it ends at byte {end}; {DAMAGED}"
            )
        end += tensor.size
    if end != file.size:
        raise CheckpointError(f"{path} has {file.size} bytes, but its header describes {end}; {DAMAGED}")
    return {tensor.name: tensor for tensor in tensors}


def write_safetensors(path: Path, tensors: Mapping[str, NDArray[Any]], progress: Progress | None = None) -> None:
    """Write one safetensors file.

    The widest element types come first and the data begins at a multiple of 64, so that every tensor is aligned to its
    element type.

    Args:
        path: The file, which must not exist.
        tensors: Arrays of uint8, uint16, float16 or float32 by name. An array of uint16 holds bfloat16 as its bits.
        progress: Called with the bytes written and the bytes in all.
    """
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, array in ordered:
        end = offset + array.nbytes
        dtype = _DTYPE_NAMES[array.dtype]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _DATA_ALIGNMENT)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        writer = ArrayWriter(file, offset, progress)
        for _, array in ordered:
            writer.write(array)


def no_model_error(where: str, names: Sequence[str]) -> CheckpointError:
    """Return the error for a place that holds no safetensors and no GGUF file.

    Args:
        where: The folder or repository.
        names: Names of its files, to recognise a model that is stored only as pickle.
    """
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if pickles:
        return CheckpointError(
            f"{where} has its weights only as pickle ({pickles[0]}). A pickle can run code when it is opened, so it is "
            "never read here; use a revision with model.safetensors, or convert it with the safetensors package"
        )
    return CheckpointError(
        f"{where} holds no model: it has no safetensors and no .gguf file; check the path, and that the download is "
        "complete"
    )


def _read_entry(file: MappedFile, start: int, name: str, entry: Any) -> StoredTensor:
    where = f"{file.path}: tensor {name}"
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where} is not described by a JSON object; {DAMAGED}")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise CheckpointError(
            f"{where} has the unknown dtype {dtype!r}; use a checkpoint with {', '.join(PLAIN_DTYPES)}"
        )
    if shape is None:
        raise CheckpointError(f"{where} has a shape that is not a list of sizes; {DAMAGED}")
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1] or start + offsets[1] > file.size:
        raise CheckpointError(f"{where} has data_offsets that are not two offsets inside the file; {DAMAGED}")
    size = offsets[1] - offsets[0]
    if size != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise CheckpointError(f"{where} has {size} bytes, which does not match {dtype} {list(shape)}; {DAMAGED}")
    return StoredTensor(name, dtype, shape, start + offsets[0], size, file)


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a JSON list of sizes below 2**48 as a tuple, or None if the value is anything else."""
    ok = isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 48 for size in value)
    return tuple(value) if ok else None


def _read_shards(folder: Path, index: Path) -> dict[str, StoredTensor]:
    weight_map = _parse_json(str(index), MappedFile(index).read(0, _MAX_HEADER_BYTES)).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; download it again")
    shards = {shard for shard in weight_map.values() if isinstance(shard, str)}
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(shards):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(
                f"{index} names the shard {shard!r}, which is not a safetensors file beside it; download it again"
            )
        if not (folder / shard).is_file():
            raise CheckpointError(f"{folder} has no {shard}, which {index.name} names; download it too")
        for name, tensor in read_file(folder / shard).items():
            if name in tensors:
                raise tensor.error(f"is also in {tensors[name].file.path.name}; download both files again")
            tensors[name] = tensor
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].file.path.name != shard:
            raise CheckpointError(f"{index} says that tensor {name} is in {shard}, but it is not; download both again")
    return tensors


def _parse_json(where: str, text: bytes) -> dict[str, Any]:
    """Parse a JSON object and refuse one that has a name twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise ValueError("a name occurs twice")
        return names

    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where} is not valid JSON ({error}); {DAMAGED}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} is not a JSON object; {DAMAGED}")
    return value
