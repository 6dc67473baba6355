"""Find how much L1 a program or a step takes on a core, from outside: ttnn's own graph leaves some buffers out."""

from __future__ import annotations

from collections.abc import Callable

import ttnn

from bitnet_tt.backends.tt.planning.grid import Grid

KIBIBYTE = 1024


def l1_peak(device: object, grid: Grid, run: Callable[[], object]) -> int:
    """Return the largest amount of L1 that `run` takes on a core, in bytes, rounded up to a KiB.

    ttnn refuses a program whose buffers would overlap tensors in L1. So the search puts a tensor of growing size into
    the L1 of every core. The largest tensor beside which `run` still works is the L1 that `run` leaves free.
    """
    spare, too_much = 0, grid.l1_bytes // KIBIBYTE
    while too_much - spare > 1:
        middle = (spare + too_much) // 2
        spare, too_much = (middle, too_much) if _runs_beside(device, grid, middle, run) else (spare, middle)
    return grid.l1_bytes - spare * KIBIBYTE


def _runs_beside(device: object, grid: Grid, kibibytes: int, run: Callable[[], object]) -> bool:
    # A row is a page, and ttnn deals the pages out to the cores in turn.
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
