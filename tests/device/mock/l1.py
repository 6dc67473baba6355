"""How much L1 a program or a step takes on a core, found from outside: ttnn's own graph leaves some buffers out."""

from __future__ import annotations

from collections.abc import Callable

import ttnn

from bitnet_tt.backends.tt.planning.grid import Grid

KIBIBYTE = 1024


def l1_peak(device: object, grid: Grid, run: Callable[[], object]) -> int:
    """The most L1 that is taken on a core while something runs, in bytes, up to the next KiB.

    ttnn refuses a program whose buffers would reach into tensors in L1. So a tensor as large on every core as can be
    borne while `run` still runs is what it leaves free.
    """
    spare, too_much = 0, grid.l1_bytes // KIBIBYTE
    while too_much - spare > 1:
        middle = (spare + too_much) // 2
        spare, too_much = (middle, too_much) if _runs_beside(device, grid, middle, run) else (spare, middle)
    return grid.l1_bytes - spare * KIBIBYTE


def _runs_beside(device: object, grid: Grid, kibibytes: int, run: Callable[[], object]) -> bool:
    # A row is a page, and pages go round the cores.
    block = ttnn.empty(
        [1, 1, grid.cores, kibibytes * KIBIBYTE // 4],
        dtype=ttnn.uint32,
        layout=ttnn.ROW_MAJOR_LAYOUT,
        device=device,
        memory_config=ttnn.L1_MEMORY_CONFIG,
    )
    try:
        run()
    except RuntimeError as error:
        if "L1" not in str(error):
            raise
        return False
    finally:
        block.deallocate()
    return True
