"""Compile a compute kernel with Tenstorrent's compiler, and print the vector unit's instructions in each of its loops.

python -m tests.device.mock.vector_loops MODEL KERNEL

For instance `2b4t bit_linear_compute`. A loop that contains others counts their instructions once. So the numbers say
what one round of an innermost loop costs. `replayed` are instructions that a round repeats from the replay buffer.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.device.mock.figures import config_of
from tests.device.mock.runtime import ROOT, environment, run

COMPILER = ROOT / "build/sfpi"
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t\S+(?: \S+)*\s+([a-z]\S*)\s*(.*)$", re.MULTILINE)
_TARGET = re.compile(r"\b([0-9a-f]+) <")


def main(model: str, kernel: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mock = environment(Path(folder) / "root", COMPILER)
        run(mock, "kernels", json.dumps(config_of(model)), "fast", seconds=3600)
        for variant in sorted((Path(folder) / "root/cache").glob(f"*/kernels/{kernel}/*")):
            names = (variant / "named_ct_arg_map_generated.h").read_text()
            print(*(f"{name}={value}" for name, value in re.findall(r'"constant_(\w+)",(\d+)', names)))
            for line in loops(variant / "trisc1/trisc1.elf"):
                print(f"    {line}")


def loops(file: Path) -> Iterator[str]:
    """Describe each loop of a program of the math processor: a jump back to an earlier instruction."""
    listing = subprocess.run(
        [COMPILER / "compiler/bin/riscv-tt-elf-objdump", "-d", file], capture_output=True, text=True, check=True
    ).stdout
    instructions = [(int(at, 16), name, rest) for at, name, rest in _INSTRUCTION.findall(listing)]
    for at, name, rest in instructions:
        target = _TARGET.search(rest)
        if name.startswith(("b", "j")) and name != "jal" and target and int(target[1], 16) < at:
            body = [one for one in instructions if int(target[1], 16) <= one[0] <= at]
            vector = sum(one.startswith("sfp") for _, one, _ in body)
            replayed = sum(
                int(rest.split(",")[1]) for _, one, rest in body if one == "ttreplay" and rest.endswith(",0")
            )
            if vector:
                yield f"{target[1]} to {at:x}: {vector} vector instructions, {replayed} replayed, {len(body)} in all"


if __name__ == "__main__":
    main(*sys.argv[1:])
