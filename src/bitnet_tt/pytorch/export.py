"""Export a model for other runtimes: two programs of static shapes, and beside them what a runtime must know.

The programs are `prefill`, which reads the beginning of texts, and `step`, which continues each text by one token.
"""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from bitnet_tt.checkpoint.tokenizer_files import copy_tokenizer
from bitnet_tt.checks import is_int
from bitnet_tt.errors import ConfigError
from bitnet_tt.formats.safetensors import write_safetensors
from bitnet_tt.formats.staging import staged
from bitnet_tt.pytorch.decoder import BitNet
from bitnet_tt.pytorch.operations import COMMIT, CONVERTED, count_operations

Format = Literal["torch-export", "stablehlo"]

DESCRIPTION = "export.json"
"""The file that describes an export."""

_SIDE_FILES_BYTES = 1 << 25
"""A generous estimate of the tokenizer, the description and the programs without weights: 32 MiB."""


def export(
    module: BitNet,
    target: Path,
    to: Format,
    *,
    prompt_length: int = 128,
    tokenizer: Path | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Write the programs of a model, their description and the tokenizer into a new folder.

    Args:
        module: The model. Its `batch` and `max_length` become the shapes of the programs.
        target: The folder to create. It appears complete or not at all.
        to: `torch-export` writes `.pt2` files, each with the weights in it. `stablehlo` writes each program as text and
            as bytecode, and beside them the weights as safetensors.
        prompt_length: Number of tokens that `prefill` reads.
        tokenizer: The folder or .gguf file whose tokenizer is copied; None to write no tokenizer.
        overwrite: Replace an existing export.

    Returns:
        Notes for the user, such as operations that Tenstorrent's compiler does not convert.

    Raises:
        ConfigError: `prompt_length` is out of range.
        ExportError: A program cannot be converted.
        MissingExtraError: A package is not installed.
        CheckpointError: The target exists or cannot be written.
    """
    if not is_int(prompt_length, 1, module.max_length):
        raise ConfigError(f"prompt_length must be from 1 to {module.max_length} (max_length), not {prompt_length!r}")
    write = _write_pt2 if to == "torch-export" else _stablehlo_writer()
    weights = parameters(module)
    size = sum(tensor.nbytes for tensor in weights.values())
    inputs = example_inputs(module, prompt_length)
    copies = len(inputs) if to == "torch-export" else 1
    with staged(target, size * copies + _SIDE_FILES_BYTES, overwrite=overwrite, marker=DESCRIPTION) as folder:
        folder.mkdir()
        programs = {}
        for name, arguments in inputs.items():
            with torch.no_grad():
                program = torch.export.export(module, arguments, strict=False)
            programs[name] = write(program, folder, name) | describe_call(module, arguments)
        if to == "stablehlo":
            write_safetensors(folder / "weights.safetensors", {name: _as_array(weights[name]) for name in weights})
        if tokenizer is not None:
            copy_tokenizer(tokenizer, folder)
        description = describe_model(module) | {"format": to, "programs": programs}
        (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return [note for name, program in programs.items() for note in _notes(name, program)]


def example_inputs(module: BitNet, prompt_length: int) -> dict[str, tuple[Any, ...]]:
    """Return inputs of the two programs, by the program's name."""
    ids = torch.zeros(module.batch, prompt_length, dtype=torch.int32)
    position = torch.zeros(module.batch, 1, dtype=torch.int32)
    return {"prefill": (ids,), "step": (ids[:, :1].clone(), position, *module.empty_cache())}


def parameters(module: BitNet) -> dict[str, Tensor]:
    """Return the parameters and the buffers of a module by name."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def describe_model(module: BitNet) -> dict[str, Any]:
    """Return what a runtime must know of the model and of the cache."""
    config = module.config
    return {
        "versions": {name: importlib.metadata.version(name) for name in ("bitnet-tt", "torch")},
        "batch": module.batch,
        "max_length": module.max_length,
        "cache": "float32 [batch, kv_heads, max_length, head_dim] for each layer; slot i holds the token at position i",
        "config": asdict(config),
    }


def describe_call(module: BitNet, arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Return name, type and shape of each input and output of a program, in their order."""
    names = ("ids", "positions", "keys", "values")
    logits = torch.empty(*arguments[0].shape, module.config.vocab_size, device="meta")
    keys, values = module.empty_cache("meta")
    return {
        "inputs": [one for pair in zip(names, arguments, strict=False) for one in _describe(*pair)],
        "outputs": [
            one for pair in (("logits", logits), ("keys", keys), ("values", values)) for one in _describe(*pair)
        ],
    }


def _describe(name: str, value: Any) -> list[dict[str, Any]]:
    """Describe a tensor, or each tensor of a tuple with one for each layer."""
    if isinstance(value, Tensor):
        return [{"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": list(value.shape)}]
    return [one for layer, tensor in enumerate(value) for one in _describe(f"{name}.{layer}", tensor)]


def _write_pt2(program: torch.export.ExportedProgram, folder: Path, name: str) -> dict[str, Any]:
    torch.export.save(program, folder / f"{name}.pt2")
    return {"file": f"{name}.pt2"}


def _stablehlo_writer() -> Any:
    """Return a function as `_write_pt2`, for StableHLO. Its packages are imported only here.

    Raises:
        MissingExtraError: They are not installed.
    """
    from bitnet_tt.pytorch.stablehlo import to_stablehlo

    def write(program: torch.export.ExportedProgram, folder: Path, name: str) -> dict[str, Any]:
        module = to_stablehlo(program)
        (folder / f"{name}.mlir").write_text(module.text, encoding="utf-8")
        (folder / f"{name}.mlirbc").write_bytes(module.bytecode)
        operations = count_operations(module.text)
        return {
            "file": f"{name}.mlirbc",
            "text": f"{name}.mlir",
            "weights": list(module.parameters),
            "operations": operations,
            "not_converted_by_tt_mlir": {COMMIT: [one for one in operations if one not in CONVERTED]},
        }

    return write


def _notes(name: str, program: dict[str, Any]) -> list[str]:
    if "operations" not in program:
        return []
    missing = program["not_converted_by_tt_mlir"][COMMIT]
    found = f"does not convert {', '.join(missing)}" if missing else "converts all of them"
    return [f"{name} has {sum(program['operations'].values())} operations; tt-mlir {COMMIT[:7]} {found}"]


def _as_array(tensor: Tensor) -> Any:
    """Return float32, or bfloat16 as bits in uint16."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().view(torch.int16).numpy().view(np.uint16)
    return tensor.detach().numpy()
