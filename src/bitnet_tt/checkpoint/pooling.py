"""The pooling of an embedding model: which hidden state of a text is its embedding.

A Hugging Face folder says it in the files of sentence-transformers: modules.json lists the steps, and the folder of the
pooling step has a config.json. Only last-token pooling is supported, with the L2 norm after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from bitnet_tt.checkpoint.config_files import read_json
from bitnet_tt.errors import ConfigError

Pooling = Literal["last"]

POOLING_KEY = "pooling_type"
"""GGUF's key, after the architecture and a dot."""
LAST_POOLING = 3
"""llama.cpp's number of last-token pooling."""

_MODULES = "modules.json"
_PREFIX = "sentence_transformers.models."
_POOLING_FOLDER = "1_Pooling"
_LAST = "lasttoken"
_STEPS = ("Transformer", "Pooling", "Normalize")


def read_pooling(folder: Path) -> Pooling | None:
    """Return the pooling of a folder; None if it has no files of sentence-transformers.

    Raises:
        ConfigError: A file cannot be read, or asks for another pooling or another step; the message names it.
    """
    path = folder / _MODULES
    if not path.is_file():
        return None
    found: Pooling | None = None
    for step in read_json(path, list):
        kind = str(step.get("type") if isinstance(step, dict) else step).rpartition(".")[2]
        if kind not in _STEPS:
            raise ConfigError(f"{path} has a step of type {kind!r}; only {', '.join(_STEPS)} are supported")
        if kind == "Pooling":
            found = _check_pooling(folder / str(step.get("path") or "") / "config.json")
    return found


def _check_pooling(path: Path) -> Pooling:
    settings = read_json(path, dict)
    modes = [key.removeprefix("pooling_mode_") for key, value in settings.items() if "pooling_mode_" in key and value]
    if settings.get("pooling_mode") is not None:  # the form of newer versions
        modes = [str(settings["pooling_mode"])]
    if [mode.replace("_", "").removesuffix("s") for mode in modes] != [_LAST]:
        raise ConfigError(f"{path} asks for pooling by {' and '.join(modes) or 'nothing'}; only {_LAST} is supported")
    return "last"


def write_pooling(folder: Path, hidden_size: int) -> None:
    """Write the files of sentence-transformers for last-token pooling and the L2 norm."""
    steps = [("", "Transformer"), (_POOLING_FOLDER, "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": _PREFIX + kind}
        for index, (path, kind) in enumerate(steps)
    ]
    (folder / _MODULES).write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    for path, _ in steps[1:]:
        (folder / path).mkdir()
    settings = {"word_embedding_dimension": hidden_size, f"pooling_mode_{_LAST}": True, "include_prompt": True}
    (folder / _POOLING_FOLDER / "config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def gguf_pooling(metadata: Mapping[str, Any]) -> Pooling | None:
    """Return the pooling that a GGUF file names; `gguf_config` refuses those that are not supported."""
    return "last" if metadata.get(f"{metadata['general.architecture']}.{POOLING_KEY}") == LAST_POOLING else None
