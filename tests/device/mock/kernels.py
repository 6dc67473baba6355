"""Compile the programs of two cards with a real kernel compiler. Print, as JSON, errors and the sizes of the kernels.

python -m tests.device.mock.kernels CONFIG_JSON PRECISION SHARING STEPS_JSON

SHARING says what the cards share, layers or matrices. A step is its number of sequences and that of their tokens.
ttnn compiles a kernel when a program is launched first. It refuses a program whose kernels are too large together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import ttnn

from bitnet_tt.backends.base import Batch, LogitFilter
from bitnet_tt.backends.options import Precision
from bitnet_tt.backends.tt.backend import TTBackend
from bitnet_tt.config import ModelConfig
from tests.device.mock.model import empty_model

MAX_VOCABULARY = 8192

CARDS = 2
"""So that rows are handed from card to card, and columns are exchanged."""


def main(config_json: str, precision: Precision, sharing: Literal["layers", "matrices"], steps_json: str) -> None:
    config = ModelConfig.from_dict(json.loads(config_json))
    # A larger vocabulary makes no other kernels.
    config = replace(config, num_hidden_layers=CARDS, vocab_size=min(config.vocab_size, MAX_VOCABULARY))
    errors: list[str] = []
    kernels: set[str] = set()
    launch = ttnn.generic_op

    def compiling_launch(tensors: Any, program: Any) -> None:
        kernels.update(Path(kernel.kernel_source).stem for kernel in program.kernels)
        try:
            launch(tensors, program)
        except RuntimeError as error:
            errors.extend(_reasons(str(error)))

    with mock.patch.object(ttnn, "generic_op", compiling_launch):
        backend = TTBackend(
            config,
            empty_model(config),
            context_length=128,
            precision=precision,
            cards=CARDS,
            tensor_parallel=sharing == "matrices",
        )
        backend.allocate(32 * 4, 32)
        for sequences, tokens in json.loads(steps_json):
            batch = _batch(sequences, tokens)
            backend.candidates(batch, [LogitFilter(8)] * sequences)
        backend.close()
    print(json.dumps({"errors": sorted(set(errors)), "bytes": {name: _sizes(name) for name in sorted(kernels)}}))


def _batch(sequences: int, tokens: int) -> Batch:
    starts = np.arange(sequences + 1, dtype=np.int32) * tokens
    return Batch(
        token_ids=np.zeros(sequences * tokens, np.int32),
        starts=starts,
        positions=np.zeros(sequences, np.int32),
        block_tables=np.arange(sequences * 4, dtype=np.int32).reshape(sequences, 4),
        logit_rows=starts[1:] - 1,
    )


def _reasons(error: str) -> Iterator[str]:
    """Return the lines of a failed launch that say why: ttnn repeats the compiler's output, and adds a backtrace."""
    lines = error.splitlines()
    yield from (line for line in lines if "error:" in line) if "error:" in error else lines[:3]


def _sizes(kernel: str) -> dict[str, int]:
    """Return the bytes of code and data on each processor, of the largest of the kernel's variants."""
    files = Path(os.environ["TT_METAL_CACHE"]).glob(f"*/kernels/{kernel}/*/*/*.elf")
    elfs = [str(file) for file in files if not file.name.endswith(".xip.elf")]
    tool = Path(os.environ["TT_METAL_RUNTIME_ROOT"]) / "runtime/sfpi/compiler/bin/riscv-tt-elf-size"
    printed = subprocess.run([tool, *elfs], capture_output=True, text=True, check=True).stdout if elfs else ""
    sizes: dict[str, int] = {}
    for line in printed.splitlines()[1:]:
        text, data, *_, file = line.split()
        processor = Path(file).stem
        sizes[processor] = max(sizes.get(processor, 0), int(text) + int(data))
    return sizes


if __name__ == "__main__":
    main(*sys.argv[1:])  # type: ignore[arg-type]
