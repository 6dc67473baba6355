"""Planning and the host's part of a step work on machines without ttnn."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from bitnet_tt.backends.tt import planning

MODULES = [f"bitnet_tt.backends.tt.planning.{module.name}" for module in pkgutil.iter_modules(planning.__path__)] + [
    "bitnet_tt.backends.tt.step.groups",
    "bitnet_tt.backends.tt.step.candidates",
]


def test_planning_and_groups_and_candidates_import_no_ttnn() -> None:
    """None in `sys.modules` makes `import ttnn` raise ImportError."""
    code = f"import importlib, sys; sys.modules['ttnn'] = None; [importlib.import_module(name) for name in {MODULES}]"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
