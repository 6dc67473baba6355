"""What a Tenstorrent card needs: the device, its driver, huge pages, the compiler for its cores, or a simulator."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from bitnet_tt.cli.checks.check import Check, read

_VENDOR = "0x1e52"
_CARDS = {"0xfaca": "Grayskull", "0x401e": "Wormhole", "0xb140": "Blackhole"}
_INSTALLER = "run tt-installer, which sets up driver, firmware and huge pages"


def check_tenstorrent(root: Path) -> list[Check]:
    """All checks for Tenstorrent hardware."""
    return [_card(root), _driver(root), _huge_pages(root), _sfpi(root), _simulator()]


def _card(root: Path) -> Check:
    nodes = sorted(path.name for path in (root / "dev/tenstorrent").glob("[0-9]*"))
    slots = (root / "sys/bus/pci/devices").glob("*")
    cards = [_CARDS.get(read(slot / "device"), "unknown card") for slot in slots if read(slot / "vendor") == _VENDOR]
    if nodes:
        return Check("Tenstorrent card", "ok", f"{', '.join(cards) or 'unknown card'}; devices {', '.join(nodes)}")
    if cards:
        return Check("Tenstorrent card", "missing", f"{', '.join(cards)} on the PCI bus, no device", _INSTALLER)
    return Check("Tenstorrent card", "missing", "none on the PCI bus", "only for device tt: put a Blackhole card in")


def _driver(root: Path) -> Check:
    module = root / "sys/module/tenstorrent"
    if not module.is_dir():
        return Check("Driver", "missing", "tt-kmd is not loaded", f"only for a card: {_INSTALLER}")
    return Check("Driver", "ok", f"tt-kmd {read(module / 'version') or 'of unknown version'}")


def _huge_pages(root: Path) -> Check:
    kernel = root / "sys/kernel/mm"
    counts = {path.name.removeprefix("hugepages-"): read(path / "nr_hugepages") for path in kernel.glob("hugepages/*")}
    modes = read(kernel / "transparent_hugepage/enabled")
    mode = modes.partition("[")[2].partition("]")[0] or "unknown"
    sizes = ", ".join(f"{count} of {size}" for size, count in sorted(counts.items())) or "none"
    found = f"{sizes}; transparent: {mode}"
    if counts.get("1048576kB", "0") in ("", "0"):
        return Check("Huge pages", "missing", found, f"only for a card without IOMMU: {_INSTALLER}")
    return Check("Huge pages", "ok", found)


def _sfpi(root: Path) -> Check:
    places = [root / "opt/tenstorrent/sfpi"]
    ttnn = importlib.util.find_spec("ttnn")
    if ttnn is not None and ttnn.submodule_search_locations:
        places += [Path(folder) / "runtime/sfpi" for folder in ttnn.submodule_search_locations]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        return Check("SFPI", "missing", "no compiler for Tensix cores", "only for a card: comes with ttnn")
    return Check("SFPI", "ok", str(found))


def _simulator() -> Check:
    path = os.environ.get("TT_METAL_SIMULATOR")  # ttnn's own setting
    if not path:
        return Check("Simulator", "missing", "not set", "only to run without a card: point TT_METAL_SIMULATOR at one")
    if not Path(path).exists():
        return Check("Simulator", "warn", f"{path} does not exist", "correct TT_METAL_SIMULATOR")
    return Check("Simulator", "ok", path)
