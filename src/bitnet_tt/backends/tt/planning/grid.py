"""The grid of cores and the memory that a program sees on a card, and the units in which the card stores data."""

from __future__ import annotations

from dataclasses import dataclass

from bitnet_tt.backends.options import TernaryTiles

TILE = 32
"""Rows and columns of a tile, the unit of every matrix on the card. A cache block is one tile high."""

STRIP = 256
"""Elements of a row in one page of strips, see `Strips`."""

FLOAT32_BYTES, UINT32_BYTES, BFLOAT16_BYTES = 4, 4, 2
"""Bytes of one element."""

BFP8_TILE_BYTES, BFP4_TILE_BYTES = 1088, 576
"""Bytes of a tile in a block float format: 64 shared exponents of 8 bits, then 1024 mantissas of 8 or 4 bits."""

TERNARY_TILE_BYTES: dict[TernaryTiles, int] = {"codes": 256, "bfp2": 320}
"""Bytes of a tile of ternary weights: 1024 codes of 2 bits; in bfp2 behind 64 shared exponents of 8 bits."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The cores and the memory of a card, as a program sees them.

    Attributes:
        x: Columns of worker cores.
        y: Rows of worker cores.
        l1_bytes: L1 memory that programs may use on one core.
        dram_bytes: DRAM of the card.
        dram_banks: Banks of this DRAM. ttnn deals the pages of a tensor out to the banks in turn.
    """

    x: int
    y: int
    l1_bytes: int
    dram_bytes: int
    dram_banks: int

    @property
    def cores(self) -> int:
        """Number of worker cores."""
        return self.x * self.y


SMALLEST_P150 = Grid(x=11, y=10, l1_bytes=1461120, dram_bytes=34217131008, dram_banks=8)
"""The smallest grid that a p150 card shows. ttnn 0.81.1 reports this memory: what it leaves of 1.5 MB L1 and 32 GB."""
