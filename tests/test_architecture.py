"""The code keeps the order of rooms that docs/architecture.md promises: no import goes up, and there are no cycles."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import bitnet_tt

PACKAGE = Path(bitnet_tt.__file__).parent

ROOMS = (
    "errors",
    "checks",
    "energy",
    "generation_config",
    "rope_settings",
    "config",
    "mapped",
    "weights",
    "rope",
    "formats",
    "tokenizer",
    "checkpoint",
    "reference",
    "pytorch",
    "backends",
    "sampling",
    "generation",
    "engine",
    "prompts",
    "model",
    "selftest",
    "evaluation",
    "bench",
    "server",
    "scale",
    "cli",
)
"""Lowest first. A room imports only rooms before it."""

TT_ROOMS = ("environment", "planning", "device", "step", "ops", "model", "backend")
"""The rooms of backends/tt, lowest first."""

FREE_OF_TTNN = (
    "backends.tt.planning",
    "backends.tt.environment",
    "backends.tt.device.shared_memory",
    "backends.tt.device.telemetry",
    "backends.tt.step.groups",
    "backends.tt.step.candidates",
    "backends.tt.step.decode_state",
)

LATE_IMPORTS = (
    "cli.",
    "backends.select",
    "tokenizer.chat_template",
    "server.call_syntax",
    "pytorch.export",
    "evaluation.command",
)
"""Modules that may import our own modules inside functions: `--help` and loading are quick, and others optional."""


@dataclass(frozen=True)
class Import:
    """An import statement: who imports what, both without the package's name, and whether inside a function."""

    importer: str
    imported: str
    late: bool


@cache
def module_names() -> frozenset[str]:
    return frozenset(name_of(path) for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imports() -> tuple[Import, ...]:
    """Every import of our own modules, those for type checkers included."""
    return tuple(found for path in sorted(PACKAGE.rglob("*.py")) for found in imports_of(path))


def imports_of(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("bitnet_tt"):
            continue
        base = (node.module or "").removeprefix("bitnet_tt").removeprefix(".")
        for alias in node.names:
            below = f"{base}.{alias.name}".removeprefix(".")
            yield Import(name_of(path), below if below in module_names() else base, id(node) in late)


def third_party(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


def test_the_page_on_architecture_names_every_room() -> None:
    page = (Path(__file__).parents[1] / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w./]+)`", page, re.MULTILINE)
    named = {row.partition("/")[0].removesuffix(".py") for row in rows}
    files = {"environment", "backend"}  # of backends/tt; the page names them above its table
    assert {*ROOMS, *TT_ROOMS} - files <= named


def test_no_room_imports_a_room_above_it() -> None:
    upwards = [
        f"{one.importer} imports {one.imported}"
        for one in imports()
        if (room := one.importer.partition(".")[0]) in ROOMS
        and (other := one.imported.partition(".")[0]) in ROOMS
        and ROOMS.index(other) > ROOMS.index(room)
    ]
    assert upwards == []


def test_every_module_is_in_a_room() -> None:
    assert {name.partition(".")[0] for name in module_names()} - {""} == set(ROOMS)
    tenstorrent = {name.split(".")[2] for name in module_names() if name.startswith("backends.tt.")}
    assert tenstorrent == set(TT_ROOMS)


def test_the_rooms_of_the_tenstorrent_backend_keep_their_order() -> None:
    inside = [
        (one, one.importer.split(".")[2], one.imported.split(".")[2])
        for one in imports()
        if one.importer.startswith("backends.tt.") and one.imported.startswith("backends.tt.")
    ]
    assert [one for one, room, other in inside if TT_ROOMS.index(other) > TT_ROOMS.index(room)] == []


def test_there_are_no_import_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for one in imports():
        if one.imported and one.imported != one.importer:  # `from bitnet_tt import _native` imports no Python module
            graph.setdefault(one.importer, set()).add(one.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_imports_inside_functions_hide_nothing() -> None:
    late = {one.importer for one in imports() if one.late}
    assert {name for name in late if not name.startswith(LATE_IMPORTS)} == set()


def test_planning_imports_no_ttnn() -> None:
    for path in PACKAGE.rglob("*.py"):
        if name_of(path).startswith(FREE_OF_TTNN):
            assert "ttnn" not in third_party(path), path


def test_environment_variables_are_touched_in_one_place() -> None:
    """They are ttnn's and Dynamo's own; the options of BitNet-TT are arguments."""
    touching = {name_of(path) for path in PACKAGE.rglob("*.py") if "os.environ" in path.read_text(encoding="utf-8")}
    assert touching == {"backends.tt.environment", "scale.environment"}
