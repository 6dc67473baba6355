"""Safetensors files, single or sharded, mapped into memory. The header is checked in full before anything is used.

The format (github.com/huggingface/safetensors): the header's length in 8 bytes, little-endian; a JSON object
`name -> {dtype, shape, data_offsets}`; then the tensors' bytes back to back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.tensor import PLAIN_DTYPES, StoredTensor
from bitnet_tt.mapped import MappedFile

MAX_HEADER_BYTES = 100_000_000
"""The specification's own bound; a larger header is garbage."""

_ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2}
_ITEM_BYTES |= {"I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}
_DAMAGED = "the file is damaged or incomplete: download it again"


def read_folder(folder: Path) -> dict[str, StoredTensor]:
    """Find every tensor of the model in a folder, by name.

    Raises:
        CheckpointError: No safetensors file, a missing shard, or a file that is damaged; the message names the file.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if not single.exists() and index.exists():
        return _read_shards(folder, index)
    found = [single] if single.exists() else sorted(folder.glob("*.safetensors"))
    if len(found) > 1:
        raise CheckpointError(
            f"{folder} has {len(found)} safetensors files but no model.safetensors.index.json to say which belong "
            "together; download the index too"
        )
    if not found:
        raise no_weights(str(folder), [entry.name for entry in folder.iterdir()])
    return read_file(found[0])


def read_file(path: Path) -> dict[str, StoredTensor]:
    """Read one file's header and find its tensors, by name.

    Raises:
        CheckpointError: The file is not safetensors, is truncated, or its header contradicts itself.
    """
    file = MappedFile(path)
    header_size = int.from_bytes(file.read(0, 8), "little")
    if file.size < 10 or header_size > MAX_HEADER_BYTES or 8 + header_size > file.size:
        raise CheckpointError(f"{path} is not a whole safetensors file (its header does not fit in it); {_DAMAGED}")
    header = _parse_json(path, file.read(8, header_size))
    header.pop("__metadata__", None)
    start = 8 + header_size
    tensors = [_read_entry(file, start, name, entry) for name, entry in header.items()]
    end = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.offset, tensor.size)):
        if tensor.offset != end:
            raise tensor.error(f"begins at byte {tensor.offset} where byte {end} is due; {_DAMAGED}")
        end += tensor.size
    if end != file.size:
        raise CheckpointError(f"{path} has {file.size} bytes where its header describes {end}; {_DAMAGED}")
    return {tensor.name: tensor for tensor in tensors}


def no_weights(where: str, names: Sequence[str]) -> CheckpointError:
    """The error for a place whose files hold no model that is read here."""
    pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if pickles:
        return CheckpointError(
            f"{where} has its weights only as pickle ({pickles[0]}), which can run code when it is opened and is never "
            "read here; use a revision with model.safetensors, or convert it with the safetensors package"
        )
    return CheckpointError(
        f"{where} holds no model: neither safetensors nor .gguf; is it the right place, and complete?"
    )


def _read_entry(file: MappedFile, start: int, name: str, entry: Any) -> StoredTensor:
    where = f"{file.path}: tensor {name}"
    if not isinstance(entry, dict):
        raise CheckpointError(f"{where} is not described by a JSON object; {_DAMAGED}")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in _ITEM_BYTES:
        raise CheckpointError(f"{where} has unknown dtype {dtype!r}; supported: {', '.join(PLAIN_DTYPES)}")
    if shape is None:
        raise CheckpointError(f"{where} has a bad shape; {_DAMAGED}")
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1] or start + offsets[1] > file.size:
        raise CheckpointError(f"{where} reaches beyond the end of the file; {_DAMAGED}")
    size = offsets[1] - offsets[0]
    if size != math.prod(shape) * _ITEM_BYTES[dtype]:
        raise CheckpointError(f"{where} has {size} bytes, which do not match {dtype} {list(shape)}; {_DAMAGED}")
    return StoredTensor(name, dtype, shape, start + offsets[0], size, file)


def _sizes(value: Any) -> tuple[int, ...] | None:
    ok = isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 48 for size in value)
    return tuple(value) if ok else None


def _read_shards(folder: Path, index: Path) -> dict[str, StoredTensor]:
    weight_map = _parse_json(index, MappedFile(index).read(0, MAX_HEADER_BYTES)).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; download it again")
    shards = {shard for shard in weight_map.values() if isinstance(shard, str)}
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(shards):
        if Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise CheckpointError(f"{index} names a shard {shard!r} that is not a safetensors file of its folder")
        if not (folder / shard).is_file():
            raise CheckpointError(f"{folder} lacks {shard}, which {index.name} names; download it too")
        for name, tensor in read_file(folder / shard).items():
            if name in tensors:
                raise tensor.error(f"is also in {tensors[name].file.path.name}; download both files again")
            tensors[name] = tensor
    for name, shard in weight_map.items():
        if name not in tensors or tensors[name].file.path.name != shard:
            raise CheckpointError(f"{index} says tensor {name} is in {shard}, but it is not; download both again")
    return tensors


def _parse_json(path: Path, text: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise ValueError("a name occurs twice")
        return names

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} has a header that is not valid JSON ({error}); {_DAMAGED}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{path} has a header that is not a JSON object; {_DAMAGED}")
    return header
