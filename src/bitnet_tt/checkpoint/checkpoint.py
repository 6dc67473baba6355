"""Checkpoint: a folder or file with a model, opened by reading headers only and loaded on request."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np

from bitnet_tt.checkpoint import families, gguf_names
from bitnet_tt.checkpoint.assemble import Assembler
from bitnet_tt.config import ModelConfig
from bitnet_tt.errors import CheckpointError, ConfigError
from bitnet_tt.formats import gguf, safetensors
from bitnet_tt.formats.tensor import Progress, StoredTensor
from bitnet_tt.weights import ModelWeights


class CheckpointFile(NamedTuple):
    """A file with weights, and its size in bytes."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model on disk whose headers have been read and checked.

    Attributes:
        path: The folder (safetensors) or the file (GGUF).
        format: How the weights are stored.
        family: Which entry of `families.FAMILIES` it is.
        config: The architecture; `eos_token_ids` include those of generation_config.json.
        files: The files that hold the weights.
        notes: Facts for the user that `load_weights` found, such as an embedding that had to be rounded.
    """

    path: Path
    format: Literal["safetensors", "gguf"]
    family: str
    config: ModelConfig
    files: tuple[CheckpointFile, ...]
    notes: list[str] = field(default_factory=list)
    _tensors: Mapping[str, StoredTensor] = field(default_factory=dict, repr=False)
    _rotary_pairs: bool = False

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the config and the headers of a checkpoint.

        Args:
            path: A folder with config.json and safetensors, or a .gguf file.

        Raises:
            CheckpointError: Not a checkpoint, damaged, or of a family that is not supported.
            ConfigError: A field of config.json (or of the GGUF metadata) cannot be used.
        """
        return cls._open_folder(path) if path.is_dir() else cls._open_gguf(path)

    @classmethod
    def _open_folder(cls, path: Path) -> Self:
        data = _read_config(path)
        tensors = safetensors.read_folder(path)
        family = families.detect(str(path), data, tensors)
        return cls(
            path=path,
            format="safetensors",
            family=family.name,
            config=_config(path / "config.json", family.complete(data)),
            files=_files(tensors),
            _tensors={family.canonical(name): tensor for name, tensor in tensors.items()},
        )

    @classmethod
    def _open_gguf(cls, path: Path) -> Self:
        file = gguf.read(path)
        family = families.detect_gguf(str(path), file.metadata.get("general.architecture"))
        return cls(
            path=path,
            format="gguf",
            family=family.name,
            config=_config(path, gguf_names.config_dict(file, family)),
            files=_files(file.tensors),
            _tensors=gguf_names.canonical_tensors(file),
            _rotary_pairs=family.gguf_rotary_pairs,
        )

    def load_weights(self, progress: Progress | None = None) -> ModelWeights:
        """Load, decode and check all weights; packed ones stay where they lie in the file.

        Args:
            progress: Called with the bytes done and the bytes in all, after each matrix.

        Raises:
            CheckpointError: A tensor is missing, left over, of the wrong shape, or damaged; the message names it.
        """
        self.notes.clear()
        assembler = Assembler(str(self.path), self.config, self._tensors, self._rotary_pairs, progress, self.notes)
        with np.errstate(over="ignore", invalid="ignore"):  # the checks report what overflowed, by name
            return assembler.model()


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} has no config.json; is the download complete?")
    data = _read_json(path)
    generation_path = folder / "generation_config.json"
    if generation_path.is_file():
        more = _as_list(_read_json(generation_path).get("eos_token_id"))
        data["eos_token_id"] = _as_list(data.get("eos_token_id")) + more or None
    return data


def _as_list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path} is not valid JSON: {error}; download it again") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must hold a JSON object; download it again")
    return data


def _config(path: Path, data: Mapping[str, Any]) -> ModelConfig:
    try:
        config = ModelConfig.from_dict(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return replace(config, eos_token_ids=tuple(dict.fromkeys(config.eos_token_ids)))


def _files(tensors: Mapping[str, StoredTensor]) -> tuple[CheckpointFile, ...]:
    files = {tensor.file.path: tensor.file.size for tensor in tensors.values()}
    return tuple(CheckpointFile(path, size) for path, size in sorted(files.items()))
