"""Two runs of the program give the same bytes: no result depends on Python's random hashes or on other chance."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.cli.test_streams import COMMAND

SHAPE = "2b4t,layers=1,hidden=256,intermediate=256,heads=2,kv_heads=2,vocab=2048"
MAKE_A_MODEL = """
import shutil, sys
from pathlib import Path
from bitnet_tt.bench.synthetic import synthetic_checkpoint
from bitnet_tt.checkpoint.hub import DEMO_FOLDER
folder = synthetic_checkpoint(sys.argv[1], Path())
for name in ("tokenizer.json", "tokenizer_config.json"):
    shutil.copy(DEMO_FOLDER / name, folder / name)
"""


def results(folder: Path, hash_seed: int) -> dict[str, bytes]:
    """Run some commands and return what each writes, by a name."""
    folder.mkdir()
    environment = os.environ | {"PYTHONHASHSEED": str(hash_seed)}

    def program(code: str, *arguments: str) -> bytes:
        command = [sys.executable, "-c", code, *arguments]
        result = subprocess.run(command, capture_output=True, cwd=folder, env=environment, check=True)
        return result.stdout

    written = {
        "sampled text": program(COMMAND, "generate", "Once upon a time", "-n", "20", "-t", "1", "--seed", "7"),
        "info": program(COMMAND, "info", "demo", "--json"),
    }
    program(MAKE_A_MODEL, SHAPE)
    program(COMMAND, "convert", f"synthetic-{SHAPE}", "model.gguf", "--to", "gguf-i2s")
    program(COMMAND, "convert", "model.gguf", "from-gguf", "--to", "packed")
    program(COMMAND, "convert", "demo", "packed", "--to", "packed")
    files = (path for path in folder.rglob("*") if path.is_file())
    return written | {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_results_do_not_depend_on_hashes(tmp_path: Path) -> None:
    first, second = results(tmp_path / "first", 1), results(tmp_path / "second", 2)
    assert first == second
    assert {"model.gguf", "from-gguf/tokenizer.json", "packed/model.safetensors"} <= set(first)
