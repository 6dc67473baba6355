"""How the weights of a product are dealt out to the cores that stream them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from bitnet_tt.backends.tt.planning.grid import TERNARY_TILE_BYTES, Grid

MAX_COLUMNS = 4
"""Tiles of a product that a core computes at a time: half of Dest; the other half has the operands of the epilogue."""

_PACKET_BYTES = 16 << 10
"""What the NoC carries at most in one packet."""

_ROOM_BYTES = 256 << 10
"""L1 of a core for a part of a stream. DRAM fills it while the core prepares its rows."""


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of a product [in, out], one for each core that takes part. All sizes are in tiles.

    A core computes neighbouring columns. Its stream has a part for each pass, and each part is [depth, columns]. With a
    gate, the first half of a pass's columns are gate, the second half are the columns of up that belong to them.

    Attributes:
        depth: Tiles along the row.
        columns: Columns of weights that are computed together, at most four.
        passes: How often a core does so.
        cores: Cores that have a stream.
        result_tiles: Tiles of a row of the result. The last core's stream may have columns beyond: they are zero.
        gated: Whether the product is gate and up.
        tile_bytes: Bytes of a tile of weights.
    """

    depth: int
    columns: int
    passes: int
    cores: int
    result_tiles: int
    gated: bool
    tile_bytes: int

    @property
    def tiles(self) -> int:
        """Tiles of a stream."""
        return self.depth * self.columns * self.passes

    @property
    def bytes(self) -> int:
        """Bytes of a stream."""
        return self.tiles * self.tile_bytes

    @property
    def width(self) -> int:
        """Tiles of a row in all streams together."""
        return self.columns * self.passes * self.cores

    @property
    def packet_tiles(self) -> int:
        """Tiles that are read at once. A core takes `columns` tiles in a step, and a packet has whole steps."""
        return _PACKET_BYTES // self.tile_bytes // self.columns * self.columns

    @property
    def room_tiles(self) -> int:
        """Tiles that a core has room for if it frees those that it has used: the whole stream, or whole packets."""
        return min(self.tiles, _ROOM_BYTES // (self.packet_tiles * self.tile_bytes) * self.packet_tiles)

    @property
    def have_exponents(self) -> bool:
        """Whether the tiles begin with their exponents."""
        return self.tile_bytes == TERNARY_TILE_BYTES["bfp2"]

    @property
    def results(self) -> int:
        """Tiles of the result that one pass computes."""
        return self.columns // 2 if self.gated else self.columns


@cache  # each step asks for the parts of the lm_head
def deal(depth: int, result_tiles: int, grid: Grid, *, gated: bool, tile_bytes: int) -> Streams:
    """Deal a product out to the cores.

    Args:
        depth: Tiles along the row.
        result_tiles: Tiles of a row of the result.
        grid: The cores, and the banks that share the streams.
        gated: Whether the product is gate and up, whose result is half as wide as the weights.
        tile_bytes: Bytes of a tile of weights.
    """
    most = MAX_COLUMNS // 2 if gated else MAX_COLUMNS
    fewest = -(-result_tiles // grid.cores)  # tiles of the result that a core must compute

    def fullest_bank(each: int) -> int:
        """Return the tiles of the bank with the most streams, for which the other banks wait."""
        streams = -(-result_tiles // each)
        return -(-streams // grid.dram_banks) * each

    each = min(range(fewest, 2 * fewest + 1), key=fullest_bank)
    passes = next(count for count in range(1, each + 1) if each % count == 0 and each // count <= most)
    return Streams(
        depth=depth,
        columns=each // passes * (2 if gated else 1),
        passes=passes,
        cores=-(-result_tiles // each),
        result_tiles=result_tiles,
        gated=gated,
        tile_bytes=tile_bytes,
    )
