"""Run TT-Forge's compiler in the environment of `make forge`: a Python of its own, and never one with ttnn."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.device.mock.runtime import HERE as MOCK
from tests.device.mock.runtime import ROOT

PYTHON = ROOT / "build/forge-venv/bin/python"

needs_compiler = pytest.mark.skipif(not PYTHON.exists(), reason="TT-Forge's compiler is not there: make forge")


class Toolchain:
    """The compiler, with a folder for its files."""

    def __init__(self, folder: Path) -> None:
        """Describe a card, which the compiler needs once."""
        self.folder = folder
        (folder / "unpacked").mkdir()
        self.card = folder / "card.ttsys"
        self._run("describe_card", str(self.card), TT_METAL_MOCK_CLUSTER_DESC_PATH=str(MOCK / "blackhole.yaml"))

    def compile(self, model: str) -> Path:
        """Compile the programs of a model. Return the folder that `tests.forge.compile_model` makes."""
        target = self.folder / model
        if not target.exists():
            self._run("compile_model", model, str(target), TT_COMPILE_ONLY_SYSTEM_DESC=str(self.card))
        return target

    def _run(self, module: str, *arguments: str, **variables: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("TT")} | variables
        environment |= {
            "JAX_PLATFORMS": "cpu,tt",
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.folder / "unpacked"),  # the plugin unpacks 417 MB into it, and finds them there again
            "TT_LOGGER_LEVEL": "OFF",
        }
        command = [PYTHON, "-m", f"tests.forge.{module}", *arguments]
        result = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=1800, check=False
        )
        assert result.returncode == 0, result.stderr[-5000:]
