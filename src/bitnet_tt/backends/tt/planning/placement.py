"""Which core reads which stream of weights: one near the bank that the stream lies in."""

from __future__ import annotations

from collections.abc import Sequence

from bitnet_tt.backends.tt.planning.grid import Grid

NO_STREAM = 255
"""Stands for a core that reads none."""


def place_streams(streams: int, grid: Grid, beside_banks: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Give each stream a core near its bank. ttnn deals pages out to the banks in turn, and a stream is a page.

    Args:
        streams: Number of streams, at most one for each core.
        grid: The cores.
        beside_banks: For each bank, column and row of the core that is closest to it.

    Returns:
        For each core, counted row by row, its stream or `NO_STREAM`.
    """
    free = {(x, y) for y in range(grid.y) for x in range(grid.x)}
    placed = [NO_STREAM] * grid.cores
    for stream in range(streams):
        bank_x, bank_y = beside_banks[stream % len(beside_banks)]
        x, y = min(free, key=lambda core: (abs(core[0] - bank_x) + abs(core[1] - bank_y), core))
        free.remove((x, y))
        placed[y * grid.x + x] = stream
    return tuple(placed)
