"""How attention is cut into work, and what the work costs: parts of the context, and groups of query heads."""

from __future__ import annotations

from bitnet_tt.backends.tt.planning.grid import FLOAT32_BYTES, TILE, Grid
from bitnet_tt.config import ModelConfig

PART_BLOCKS = 2
"""Cache blocks of a part: a core attends to 64 positions at a time. Contexts are padded to it."""

_STATS_BYTES = 2 * 32 * FLOAT32_BYTES
"""Bytes of the maximum and the total of a head's softmax over one part: one vector each."""

MAX_HEAD_DIM = 8 * TILE
"""A head's query and sums of values stay in Dest while a part is computed."""

_MAX_HEADS = 4
"""Query heads that a core computes together: the vector unit has eight registers."""


_MAX_ROWS = 8
"""Rows of a prompt that share keys and values: a core keeps a result of each in L1."""


def parts_of(positions: int) -> int:
    """Return the parts that some positions take."""
    return -(-positions // (PART_BLOCKS * TILE))


def heads_together(config: ModelConfig) -> int:
    """Return the number of query heads of one KV head that a core computes together."""
    group = config.queries_per_kv_head
    return max(heads for heads in range(1, _MAX_HEADS + 1) if group % heads == 0)


def rows_together(tokens: int, pairs: int, grid: Grid) -> int:
    """Return how many neighbouring rows of a prompt read keys and values once for all. It leaves work for every core.

    Args:
        tokens: Rows of a sequence, a power of two.
        pairs: Rows times groups of query heads.
        grid: The cores.
    """
    return max(
        rows for rows in (1, 2, 4, _MAX_ROWS) if rows == 1 or (tokens % rows == 0 and rows * grid.cores <= pairs)
    )


def result_bytes(config: ModelConfig) -> int:
    """Return the bytes of the result of one part for the heads that are computed together."""
    return heads_together(config) * (config.head_dim * FLOAT32_BYTES + _STATS_BYTES)


def part_instructions(config: ModelConfig) -> int:
    """Return the instructions of the vector unit for one part, counted in the kernel's listing (within some percent).

    For 2B4T: 3,136 for scores, 2,944 for sums of values, 1,740 for the softmax, 1,540 for everything else.
    """
    heads, columns = heads_together(config), config.head_dim // TILE
    tiles = 2 * PART_BLOCKS * columns  # of keys and values
    quads = TILE // 4  # groups of four positions in a tile: one vector has the features of a quad
    scores = tiles // 2 * heads * (quads * 11 + 10)
    values = tiles // 2 * 4 * (quads * (2 + 2 * heads) + 2 * heads + 4)
    softmax = 435 * heads
    layout = 30 * heads * columns  # queries to all lines of vectors, sums of values back to rows
    copies = 50 * (tiles + 2) + 160  # tiles to Dest, the calls around them, and the mask
    return scores + values + softmax + layout + copies


def combine_instructions(config: ModelConfig) -> int:
    """Return the instructions to add the result of one part of one head to that of the parts before.

    Counted on an instrumented simulator for 2B4T: 109.
    """
    return 81 + 7 * config.head_dim // TILE


def own_instructions(config: ModelConfig) -> int:
    """Return the instructions to rotate the queries and the row's own key, beside those of the part.

    Counted on an instrumented simulator for 2B4T: 123 for the queries, 94 for the key.
    """
    return 7 * (heads_together(config) + 1) * config.head_dim // TILE + 77


def own_transfers(config: ModelConfig, lines: int) -> int:
    """Return the transfers of a row's own heads: from strips of `lines` rows, within L1, and to the cache."""
    heads, columns = heads_together(config), config.head_dim // TILE
    elements = (heads + 2) * config.head_dim  # queries, key and value
    strips = -(-elements // 256) + 1 if lines == 1 else elements // 16
    swapped, angles, slots = 2 * (heads + 1), 2, 1
    in_tiles = 2 * 2 * columns  # the halves of rows of the key's and the value's tiles
    return strips + swapped + angles + slots + 2 * in_tiles  # in L1, and in the cache
