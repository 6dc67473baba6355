"""Checks of Tenstorrent hardware: card, driver, firmware, access to host memory, or a simulator in place of a card."""

from __future__ import annotations

from pathlib import Path

from bitnet_tt.backends.tt.device.shared_memory import stale_files
from bitnet_tt.backends.tt.environment import simulator
from bitnet_tt.cli.doctor.check import Check, is_older, read
from bitnet_tt.cli.doctor.telemetry import check_telemetry
from bitnet_tt.cli.doctor.toolchain import check_toolchain, find_ttnn

_VENDOR = "0x1e52"
_CARDS = {"0xfaca": "Grayskull", "0x401e": "Wormhole", "0xb140": "Blackhole"}
_INSTALLER = "run tt-installer, which installs driver, firmware and huge pages"

_UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
_UNIT = "tenstorrent-hugepages.service"
_ENABLE_UNITS = f"sudo systemctl enable --now {_UNIT} 'dev-hugepages\\x2d1G.mount'"
"""The units of Tenstorrent's package of tools: one reserves pages of 1 GB, the other shows them to programs."""

_DELETE = "rm -f /dev/shm/tt_device_* /dev/shm/TT_UMD_LOCK.*"

_MIN_DRIVER = "2.0.0"
"""With an older driver the pinned ttnn opens no card: KMD_MINIMUM_VERSION of its UMD, 0.9.14."""

_MIN_FIRMWARE = "18.10.0"
"""The minimum that the pinned ttnn names in its error when a card's Ethernet firmware does not answer."""

_FIRST_OLD_FIRMWARE = 80
"""Firmware bundles before 18.0 had the numbers 80.x."""


def check_tenstorrent(root: Path) -> list[Check]:
    """Return all checks of Tenstorrent hardware, and of the software that only it needs."""
    slots = [slot for slot in (root / "sys/bus/pci/devices").glob("*") if read(slot / "vendor") == _VENDOR]
    nodes = sorted(path.name for path in (root / "dev/tenstorrent").glob("[0-9]*"))
    checks = [_card(slots, nodes), _driver(root), _host_memory(root, slots)]
    if nodes:
        checks += [_firmware(root), check_telemetry(find_ttnn())]
    return [*checks, _shared_memory(root), *check_toolchain(root), _simulator()]


def _card(slots: list[Path], nodes: list[str]) -> Check:
    cards = [_CARDS.get(read(slot / "device"), "unknown card") for slot in slots]
    if nodes:
        return Check("Tenstorrent card", "ok", f"{', '.join(cards) or 'unknown card'}; devices {', '.join(nodes)}")
    if cards:
        return Check("Tenstorrent card", "missing", f"{', '.join(cards)} on the PCI bus, no device", _INSTALLER)
    return Check(
        "Tenstorrent card", "missing", "none on the PCI bus", "needed only for --device tt: install a Blackhole card"
    )


def _driver(root: Path) -> Check:
    module = root / "sys/module/tenstorrent"
    if not module.is_dir():
        return Check("Driver", "missing", "tt-kmd is not loaded", f"needed only for a card: {_INSTALLER}")
    version = read(module / "version")
    found = f"tt-kmd {version or 'of unknown version'}"
    if is_older(version, _MIN_DRIVER):
        return Check("Driver", "warn", found, f"ttnn needs {_MIN_DRIVER} or newer: {_INSTALLER}")
    return Check("Driver", "ok", found)


def _firmware(root: Path) -> Check:
    """Check the version of the firmware bundle, which tt-kmd 2 shows for each chip."""
    chips = sorted((root / "sys/class/tenstorrent").glob("tenstorrent!*"))
    versions = {chip.name.partition("!")[2]: read(chip / "tt_fw_bundle_ver") for chip in chips}
    found = ", ".join(f"device {number}: {version or 'unknown'}" for number, version in versions.items())
    if not all(versions.values()) or not versions:
        return Check(
            "Firmware", "warn", found or "unknown", f"the driver does not show it; a newer one does: {_INSTALLER}"
        )
    if any(is_older(version, _MIN_FIRMWARE) or _is_old_numbering(version) for version in versions.values()):
        remedy = f"ttnn needs {_MIN_FIRMWARE} or newer: {_INSTALLER}"
        return Check("Firmware", "warn", found, remedy)
    return Check("Firmware", "ok", found)


def _is_old_numbering(version: str) -> bool:
    major = version.partition(".")[0]
    return major.isdigit() and int(major) >= _FIRST_OLD_FIRMWARE


def _host_memory(root: Path, slots: list[Path]) -> Check:
    """Check how the card reaches the host's memory: through an IOMMU, or in huge pages of 1 GB."""
    kernel = root / "sys/kernel/mm"
    counts = {path.name.removeprefix("hugepages-"): read(path / "nr_hugepages") for path in kernel.glob("hugepages/*")}
    sizes = ", ".join(f"{count} of {size}" for size, count in sorted(counts.items())) or "none"
    # A working IOMMU has the type "DMA" or "DMA-FQ". "identity" is an IOMMU that does not translate.
    if slots and all(read(slot / "iommu_group/type").startswith("DMA") for slot in slots):
        return Check("Huge pages", "ok", f"not needed, the card has an IOMMU; {sizes}")
    if counts.get("1048576kB", "0") in ("", "0"):
        remedy = next((_ENABLE_UNITS for folder in _UNIT_FOLDERS if (root / folder / _UNIT).is_file()), _INSTALLER)
        return Check("Huge pages", "missing", sizes, f"needed only for a card without an IOMMU: {remedy}")
    return Check("Huge pages", "ok", sizes)


def _shared_memory(root: Path) -> Check:
    """Find files of programs that were killed while they had a device open: a reset may hang on them."""
    names = [f"/{path.relative_to(root)}" for path in stale_files(root)]
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        found = f"{names[0]}{more}, of programs that ended without closing their device"
        return Check("Shared memory", "warn", found, f"end all programs that use a device, then: {_DELETE}")
    return Check("Shared memory", "ok", "nothing left of earlier programs")


def _simulator() -> Check:
    path = simulator()
    if not path:
        return Check(
            "Simulator", "missing", "not set", "needed only to run without a card: set TT_METAL_SIMULATOR to its path"
        )
    if not Path(path).exists():
        return Check("Simulator", "warn", f"{path} does not exist", "correct the path in TT_METAL_SIMULATOR")
    return Check("Simulator", "ok", path)
