"""Compare the names that kernels ask for with those that the host gives them: mock mode does not compile kernels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ASKED = re.compile(r'\b(CONSTANT|ARGUMENT|TENSOR|HAS_TENSOR|BUFFER|SEMAPHORE|NAMED)\("(\w+)"[,)]')
_INCLUDED = re.compile(r'#include "([^"]+)"')
_PREFIXES = {
    "CONSTANT": "constant_",
    "ARGUMENT": "argument_",
    "TENSOR": "accessor_",
    "HAS_TENSOR": "has_",
    "BUFFER": "buffer_",
    "SEMAPHORE": "semaphore_",
    "NAMED": "",
}


def wrong_names(program: Any) -> Iterator[str]:
    """Describe each name that a kernel asks for but the host does not give, and each that it gives in vain.

    Args:
        program: A ttnn.ProgramDescriptor.
    """
    unused_buffers: set[str] | None = None
    for kernel in program.kernels:
        asked = _asked_names(Path(kernel.kernel_source), set())
        given = {name for name, _ in kernel.named_compile_time_args}
        for name in sorted(asked - given):
            yield f"{kernel.kernel_source} asks for {name}, which the host does not give"
        # A kernel need not ask for the grid, nor whether it has a tensor. TENSOR stands for accessor and address.
        expected = {name for name in given if name.startswith(("constant_", "argument_", "accessor_"))}
        for name in sorted(expected - asked):
            yield f"{kernel.kernel_source} does not ask for {name}"
        buffers = {name for name in given if name.startswith("buffer_")} - asked
        unused_buffers = buffers if unused_buffers is None else unused_buffers & buffers
    for name in sorted(unused_buffers or ()):
        yield f"no kernel of the program of {program.kernels[0].kernel_source} asks for {name}"


def _asked_names(file: Path, seen: set[Path]) -> set[str]:
    """Return the names in a kernel and in the headers of ours that it includes."""
    file = file.resolve()
    if file in seen or not file.exists():
        return set()
    seen.add(file)
    source = file.read_text()
    names = {_PREFIXES[macro] + name for macro, name in _ASKED.findall(source)}
    return names.union(*(_asked_names(file.parent / header, seen) for header in _INCLUDED.findall(source)))
