"""A Python for ARM64 from Debian's packages, run by qemu-user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

EMULATOR = "qemu-aarch64"
TOOLS = (EMULATOR, "apt-get", "dpkg-deb")
RELEASE, VERSION = "trixie", "3.13"
"""The Debian release, whatever release this machine runs, and its Python."""

PACKAGES = (f"python{VERSION}-minimal", f"libpython{VERSION}-stdlib", "libstdc++6")


@dataclass(frozen=True)
class Arm64Python:
    """The root folder of an ARM64 system that has Python, and a folder with the packages that it imports."""

    root: Path
    packages: Path

    def run(self, *arguments: str) -> str:
        """Run Python with these arguments; return what it prints."""
        command = [EMULATOR, "-L", self.root, self.root / f"usr/bin/python{VERSION}", *arguments]
        environment = os.environ | {"PYTHONPATH": str(self.packages)}
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def unpack_python(folder: Path) -> Path:
    """Unpack Python, and all packages that it needs, into `folder`; return the root. This machine stays as it is."""
    root, apt = folder / "root", folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "state"):
        (apt / part).mkdir(parents=True)
    (apt / "state/status").touch()
    mirror = _debian_mirror()
    (apt / "sources").write_text(f"deb [signed-by={_keyring()}] {mirror} {RELEASE} main\n")
    (apt / "configuration").write_text(
        f"""APT::Architecture "arm64"; APT::Architectures {{"arm64";}};
        Dir::State "{apt}/state"; Dir::State::lists "{apt}/lists"; Dir::State::status "{apt}/state/status";
        Dir::Cache "{apt}/cache"; Dir::Etc::sourcelist "{apt}/sources"; Dir::Etc::sourceparts "-";"""
    )
    for command in (["update"], ["install", "-y", "--download-only", "--no-install-recommends", *PACKAGES]):
        _run(["apt-get", "-q", *command], APT_CONFIG=str(apt / "configuration"))
    # Debian has /lib as a link to /usr/lib; it is made when a system is installed.
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        _run(["dpkg-deb", "--extract", package, root])
    return root


def missing_tool() -> str | None:
    """Return the first program that is missing, or None."""
    return next((tool for tool in TOOLS if shutil.which(tool) is None), None)


def _debian_mirror() -> str:
    """Return the address that this machine takes Debian's packages from."""
    lines = _run(["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)"]).splitlines()
    return next(line.split()[1] for line in lines if line.split()[0] == "Debian")


def _keyring() -> str:
    return next(str(path) for path in sorted(Path("/usr/share/keyrings").glob("debian-archive-keyring.*")))


def _run(command: Sequence[str | Path], **environment: str) -> str:
    done = subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout
