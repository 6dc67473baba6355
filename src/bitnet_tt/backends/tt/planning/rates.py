"""How fast a Blackhole card does things, by what others measured on such cards: the coefficients of the cost model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitnet_tt.backends.tt.planning.grid import TILE

Reading = Literal["packets", "tiles", "small tiles"]
"""How a program reads DRAM: packets of 16 KB, tiles of 1 KB and more, or tiles of 576 bytes (bfp4)."""

PEAK_BANDWIDTH = 512e9
"""DRAM bandwidth of a p150 in bytes a second. Source: Tenstorrent's data sheet."""

CLOCK = 1.35e9
"""Cycles a second of a core. The vector unit starts one instruction in each. Source: Tenstorrent's data sheet."""

FLOPS_PER_CYCLE = 2 * 8 * 16 * 16
"""Operations of one core in one pass (LoFi): an 8x16 by 16x16 product a cycle.

Source: tech_reports/matrix_engine/matrix_engine.md in tt-metal.
"""

UNPACK_CYCLES = 21
"""Cycles of the unpacker for a tile of 2-bit weights. Source: the times of tt-metal's compressed matmul."""

UNPACK_BYTES = 16
"""Bytes that the unpacker takes in a cycle: 320 bytes of bfp2 in the 21 cycles above, rounded up."""

FIRST_READ_CYCLES = 373
"""Cycles until the first read of another core's L1 returns. Source: tt-metal's NoC figures."""


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates that differ from measurement to measurement.

    Attributes:
        bandwidth: DRAM bytes a second of each kind of reading.
        launch_seconds: A traced launch of a program with common run-time arguments.
        read_cycles: Cycles of each read of L1 after the first.
        read_seconds: The tokens of a step back to the host.
        place_seconds: New inputs to the card: a copy, and a program without a trace.
    """

    bandwidth: dict[Reading, float]
    launch_seconds: float
    read_cycles: int
    read_seconds: float
    place_seconds: float

    def host_seconds(self, batch: int) -> float:
        """Return the host's time in a step: the batch stays the same, but each sequence enters a block now and then."""
        return self.read_seconds + self.place_seconds * batch / TILE


# Sources, in tt-metal. Packets of 16 KB: pull request 47885, 344 GB/s from one core for each bank, wherever it is,
# and 500 from one beside the bank; 54242, 90 % of the peak in a product with two or three cores near each bank. Ours
# has up to 14 for each, as near as there is room. Tiles: issue 55898, a bank can give 91 % of its peak in pieces of 1
# KB and 98 % in pieces of 2 KB, but a stock product reached 400 GB/s; 57161, stock attention reached 345. Tiles of
# 576 bytes: 55898, 279 GB/s in a stock product, 95 % of the peak over both NoCs; 47885, 188 GB/s with a barrier after
# each block. Launches: pgm_dispatch.json for bh_p150, .94 us with compile-time values alone, 1.7 with common
# arguments. Reads of L1: the NoC's figures, 24 to 36 cycles. Host: a read of a small tensor, .047 ms behind queued work
# and .282 ms if the host waits for the step, as for tokens that the host samples; copies of small tensors, .05 to .28
# ms; a launch without a trace, .095 ms.
LIKELY = Rates({"packets": 461e9, "tiles": 400e9, "small tiles": 279e9}, 1.7e-6, 30, 47e-6, 145e-6)
BEST = Rates({"packets": 500e9, "tiles": 502e9, "small tiles": 486e9}, 0.94e-6, 24, 47e-6, 145e-6)
WORST = Rates({"packets": 344e9, "tiles": 345e9, "small tiles": 188e9}, 1.7e-6, 36, 282e-6, 375e-6)
"""The likely rates, and the best and the worst of what others measured."""
