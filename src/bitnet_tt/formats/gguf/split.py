"""Read a GGUF model that is one file, or that is split into several (ggml-org/llama.cpp, tools/gguf-split).

The parts are named NAME-00001-of-00003.gguf and so on. The first has the metadata of the model, and perhaps no tensor.
Each has its number from 0 on (`split.no`), the number of parts (`split.count`) and the number of tensors of all parts
(`split.tensors.count`). A file with a count of 0 or 1 is a whole model: parts that were merged have a count of 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitnet_tt.errors import CheckpointError
from bitnet_tt.formats.gguf.reader import GGUF, read_file, read_file_metadata
from bitnet_tt.formats.tensor import DAMAGED, StoredTensor

_PART_NAME = re.compile(r"(?P<name>.*)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})(?P<ending>\.gguf)", re.I | re.DOTALL)
_MAX_COUNT = 65535
"""The number of parts is stored in 16 bits."""
_MAX_NAMES = 5
"""An error message lists this many names."""


def part_names(name: str) -> list[str]:
    """Return the names of all parts of a split model by the name of one of them, first part first.

    A name that is not one of a part gives itself alone.
    """
    match = _PART_NAME.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
        return [name]
    numbers = range(1, int(match["count"]) + 1)
    return [f"{match['name']}-{number:05d}-of-{match['count']}{match['ending']}" for number in numbers]


def missing_parts_error(where: str, missing: list[str]) -> CheckpointError:
    """Return the error for a split model without some of its parts.

    Args:
        where: The part that was found, or the folder or repository, and which part of how many it is or has.
        missing: The names of the missing parts.
    """
    more = f" and {len(missing) - _MAX_NAMES} more" if len(missing) > _MAX_NAMES else ""
    return CheckpointError(
        f"{where} of a split model, but {', '.join(missing[:_MAX_NAMES])}{more} "
        f"{'are' if len(missing) > 1 else 'is'} missing; download all parts into the same folder"
    )


def read(path: Path) -> GGUF:
    """Read the metadata of a model and find every tensor. No tensor data is read.

    Args:
        path: Its file, or any part if it is split. The other parts must be beside it.

    Raises:
        CheckpointError: A file is not GGUF, is damaged, has a tensor type that we do not read, or is a part whose other
            parts are missing or do not fit.
    """
    file = read_file(path)
    paths = _part_paths(path, file.metadata)
    if len(paths) == 1:
        return file
    parts = [file if part == path else read_file(part) for part in paths]
    tensors: dict[str, StoredTensor] = {}
    total = parts[0].metadata.get("split.tensors.count")
    for number, (part, part_path) in enumerate(zip(parts, paths, strict=True)):
        _check_part(part_path, part.metadata, number, len(paths), total)
        for name, tensor in part.tensors.items():
            if name in tensors:
                raise tensor.error(f"is also in {tensors[name].file.path.name}; download both files again")
            tensors[name] = tensor
    if type(total) is not int or total != len(tensors):
        raise CheckpointError(
            f"{paths[0]} says that the parts have {total!r} tensors (split.tensors.count), but they have "
            f"{len(tensors)}; download all parts again"
        )
    return GGUF(parts[0].metadata, tensors, tuple(file for part in parts for file in part.files))


def read_metadata(path: Path) -> dict[str, Any]:
    """Read only the metadata of a model: values of type int, float, bool or str, or lists of these or of lists.

    Args:
        path: Its file, or any part if it is split. The other parts must be beside it.

    Raises:
        CheckpointError: A file is not GGUF, is damaged, or is a part whose other parts are missing or do not fit.
    """
    metadata = read_file_metadata(path)
    paths = _part_paths(path, metadata)
    if paths[0] == path:
        return metadata
    metadata = read_file_metadata(paths[0])
    _check_part(paths[0], metadata, 0, len(paths), metadata.get("split.tensors.count"))
    return metadata


def _part_paths(path: Path, metadata: Mapping[str, Any]) -> list[Path]:
    """Return the paths of all parts of a model, or the path itself if it is a whole model."""
    number, count = _numbers(path, metadata)
    if count <= 1 and number == 0:
        return [path]
    if number >= count:
        raise CheckpointError(f"{path} says that it is part {number + 1} of {count} of a split model; {DAMAGED}")
    names = part_names(path.name)
    if len(names) != count or names[number] != path.name:
        raise CheckpointError(
            f"{path} is part {number + 1} of {count} of a split model, but its name does not end in "
            f"-{number + 1:05d}-of-{count:05d}.gguf, by which the other parts are found; give it its original name, "
            "and download all parts into the same folder"
        )
    paths = [path.with_name(name) for name in names]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise missing_parts_error(f"{path} is part {number + 1} of {count}", missing)
    return paths


def _check_part(path: Path, metadata: Mapping[str, Any], number: int, count: int, total: object) -> None:
    """Refuse a part that does not say what its name says, or that belongs to another model.

    Args:
        path: The part.
        metadata: Its metadata.
        number: Its number by its name, from 0 on.
        count: The number of parts by its name.
        total: The number of tensors of all parts, as the first part gives it.
    """
    stored = _numbers(path, metadata)
    if stored != (number, count) or metadata.get("split.tensors.count", total) != total:
        raise CheckpointError(
            f"{path} is not part {number + 1} of {count} of this split model: it has split.no {stored[0]}, "
            f"split.count {stored[1]} and split.tensors.count {metadata.get('split.tensors.count')!r}; download all "
            "parts again"
        )


def _numbers(path: Path, metadata: Mapping[str, Any]) -> tuple[int, int]:
    """Return the number of a part, from 0 on, and the number of parts. A file that gives neither has 0 and 0."""
    numbers = []
    for key in ("split.no", "split.count"):
        value = metadata.get(key, 0)
        if type(value) is not int or not 0 <= value <= _MAX_COUNT:
            raise CheckpointError(
                f"{path} has {key} {value!r}, which is not a number from 0 to {_MAX_COUNT}; {DAMAGED}"
            )
        numbers.append(value)
    return numbers[0], numbers[1]
