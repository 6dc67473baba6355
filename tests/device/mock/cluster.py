"""Descriptions of several p150 cards and the cables between them, for ttnn's mock mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

_BOARD = 64 << 36  # a board's kind is in bits 36 and up of its number
_CHANNELS = (0, 1, 2, 3, 4, 6, 7, 9, 10, 11)  # of a chip's Ethernet; the others are fused off
_LINKS = 2  # of a cable
_BUSES = 32  # between the bus numbers of two cards: ttnn takes cards with near ones for one card


def describe(cards: str) -> str:
    """Return a cluster descriptor.

    Args:
        cards: Rows and columns of a grid whose neighbours are connected, such as `2x4`; behind it, pairs of neighbours
            without a cable, such as `1x2 0-1`.
    """
    grid, *missing = cards.split()
    rows, columns = map(int, grid.split("x"))
    count, chips = rows * columns, range(rows * columns)
    pairs = [pair for pair in _neighbours(rows, columns) if "{}-{}".format(*pair) not in missing]
    free = [iter(_CHANNELS) for _ in chips]
    links = [
        f"  - [{{chip: {one}, chan: {next(free[one])}}}, {{chip: {other}, chan: {next(free[other])}}}]"
        for one, other in pairs
        for _ in range(_LINKS)
    ]
    harvesting = (
        "noc_translation: true, harvest_mask: 192, dram_harvesting_mask: 0, eth_harvesting_mask: 288, "
        "pcie_harvesting_mask: 2, l2cpu_harvesting_mask: 0"
    )
    return "\n".join(
        [
            *_table("arch", ["blackhole"] * count),
            "chips: {}",
            *_table("chip_unique_ids", range(1, count + 1)),
            "ethernet_connections:" + ("" if links else " []"),
            *links,
            "ethernet_connections_to_remote_devices: []",
            "chips_with_mmio:",
            *(f"  - {{{chip}: {chip}}}" for chip in chips),
            "io_device_type: PCIe",
            *_table("harvesting", [f"{{{harvesting}}}"] * count),
            *_table("chip_to_bus_id", [f'"0x{_BUSES * chip + 1:02x}"' for chip in chips]),
            "boards:",
            *(
                f"  - [{{board_id: {_BOARD + chip}}}, {{board_type: p150}}, {{chips: [{chip}]}}]"
                for chip in range(count)
            ),
            *_table("asic_locations", [0] * count),
            *_table("chip_pci_bdfs", [f"0000:{_BUSES * chip + 1:02x}:00.0" for chip in chips]),
            "",
        ]
    )


def _neighbours(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    for chip in range(rows * columns):
        if chip % columns < columns - 1:
            yield chip, chip + 1
        if chip // columns < rows - 1:
            yield chip, chip + columns


def _table(name: str, values: Sequence[object]) -> list[str]:
    return [f"{name}:", *(f"  {chip}: {value}" for chip, value in enumerate(values))]
