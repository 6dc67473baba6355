"""What a Tenstorrent card needs: the device, its driver, its firmware, memory it can reach, or a simulator."""

from __future__ import annotations

import os
from pathlib import Path

from bitnet_tt.cli.doctor.check import Check, is_older, read
from bitnet_tt.cli.doctor.telemetry import check_telemetry
from bitnet_tt.cli.doctor.toolchain import check_toolchain

_VENDOR = "0x1e52"
_CARDS = {"0xfaca": "Grayskull", "0x401e": "Wormhole", "0xb140": "Blackhole"}
_INSTALLER = "run tt-installer, which sets up driver, firmware and huge pages"

_LEAST_DRIVER = "2.0.0"
"""Below it the ttnn this package asks for opens no card: KMD_MINIMUM_VERSION of its UMD, 0.9.14."""

_LEAST_FIRMWARE = "18.10.0"
"""What the same ttnn names as its minimum when a card's Ethernet firmware does not answer it."""

_FIRST_OLD_FIRMWARE = 80
"""Bundles were numbered 80.x before 18.0."""


def check_tenstorrent(root: Path) -> list[Check]:
    """All checks for Tenstorrent hardware, and of the software that is only for it."""
    slots = [slot for slot in (root / "sys/bus/pci/devices").glob("*") if read(slot / "vendor") == _VENDOR]
    nodes = sorted(path.name for path in (root / "dev/tenstorrent").glob("[0-9]*"))
    checks = [_card(slots, nodes), _driver(root), _host_memory(root, slots)]
    if nodes:
        checks += [_firmware(root), check_telemetry()]
    return [*checks, *check_toolchain(root), _simulator()]


def _card(slots: list[Path], nodes: list[str]) -> Check:
    cards = [_CARDS.get(read(slot / "device"), "unknown card") for slot in slots]
    if nodes:
        return Check("Tenstorrent card", "ok", f"{', '.join(cards) or 'unknown card'}; devices {', '.join(nodes)}")
    if cards:
        return Check("Tenstorrent card", "missing", f"{', '.join(cards)} on the PCI bus, no device", _INSTALLER)
    return Check("Tenstorrent card", "missing", "none on the PCI bus", "only for device tt: put a Blackhole card in")


def _driver(root: Path) -> Check:
    module = root / "sys/module/tenstorrent"
    if not module.is_dir():
        return Check("Driver", "missing", "tt-kmd is not loaded", f"only for a card: {_INSTALLER}")
    version = read(module / "version")
    found = f"tt-kmd {version or 'of unknown version'}"
    if is_older(version, _LEAST_DRIVER):
        return Check("Driver", "warn", found, f"ttnn needs {_LEAST_DRIVER} or newer: {_INSTALLER}")
    return Check("Driver", "ok", found)


def _firmware(root: Path) -> Check:
    """The bundle's version, as tt-kmd 2 shows it for each chip."""
    chips = sorted((root / "sys/class/tenstorrent").glob("tenstorrent!*"))
    versions = {chip.name.partition("!")[2]: read(chip / "tt_fw_bundle_ver") for chip in chips}
    found = ", ".join(f"device {number}: {version or 'unknown'}" for number, version in versions.items())
    if not all(versions.values()) or not versions:
        return Check(
            "Firmware", "warn", found or "unknown", f"the driver does not tell; a newer one does: {_INSTALLER}"
        )
    if any(is_older(version, _LEAST_FIRMWARE) or _is_old_numbering(version) for version in versions.values()):
        remedy = f"ttnn needs {_LEAST_FIRMWARE} or newer: {_INSTALLER}"
        return Check("Firmware", "warn", found, remedy)
    return Check("Firmware", "ok", found)


def _is_old_numbering(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= _FIRST_OLD_FIRMWARE


def _host_memory(root: Path, slots: list[Path]) -> Check:
    """How a card reaches the host's memory: through an IOMMU, or in huge pages of 1 GB."""
    kernel = root / "sys/kernel/mm"
    counts = {path.name.removeprefix("hugepages-"): read(path / "nr_hugepages") for path in kernel.glob("hugepages/*")}
    sizes = ", ".join(f"{count} of {size}" for size, count in sorted(counts.items())) or "none"
    # "DMA" or "DMA-FQ"; "identity" would be an IOMMU that does nothing.
    if slots and all(read(slot / "iommu_group/type").startswith("DMA") for slot in slots):
        return Check("Huge pages", "ok", f"not needed, the card has an IOMMU; {sizes}")
    if counts.get("1048576kB", "0") in ("", "0"):
        return Check("Huge pages", "missing", sizes, f"only for a card without IOMMU: {_INSTALLER}")
    return Check("Huge pages", "ok", sizes)


def _simulator() -> Check:
    path = os.environ.get("TT_METAL_SIMULATOR")  # ttnn's own setting
    if not path:
        return Check("Simulator", "missing", "not set", "only to run without a card: point TT_METAL_SIMULATOR at one")
    if not Path(path).exists():
        return Check("Simulator", "warn", f"{path} does not exist", "correct TT_METAL_SIMULATOR")
    return Check("Simulator", "ok", path)
