"""Fake machines for `doctor`: a folder with the files that the kernel would show."""

from __future__ import annotations

from pathlib import Path

from bitnet_tt.cli.doctor.check import Check


def make(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def program(path: Path, script: str) -> Path:
    """Write an executable shell script."""
    make(path.parent, {path.name: f"#!/bin/sh\n{script}\n"})
    path.chmod(0o755)
    return path


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}
