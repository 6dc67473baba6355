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
        fabric_launch_seconds: A traced launch of a program that opens a connection to another card: the arguments of
            the connection belong to one core.
        hop_seconds: From one card to the next, for the first packet.
        packet_seconds: For each packet of at most 4 KB, whatever its size.
    """

    bandwidth: dict[Reading, float]
    launch_seconds: float
    read_cycles: int
    read_seconds: float
    place_seconds: float
    fabric_launch_seconds: float
    hop_seconds: float
    packet_seconds: float

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
# ms; a launch without a trace, .095 ms. Between cards: a launch with one argument of a core's own, 4.2 us, with 128 of
# them 5.1. Hops and packets: golden_latency_summary_blackhole_p150_x4.csv, linear unicast of 4 KB, .78 to .91 us and
# .81 on average; golden_bandwidth_summary_blackhole_p150_x4.csv, one link, packets of 4 KB: 33.3 GB/s between
# neighbours and 28.1 from one sender to all; half of that with packets of 2 KB, so the time is that of packets.
LIKELY = Rates(
    {"packets": 461e9, "tiles": 400e9, "small tiles": 279e9}, 1.7e-6, 30, 47e-6, 145e-6, 4.2e-6, 0.81e-6, 123e-9
)
BEST = Rates(
    {"packets": 500e9, "tiles": 502e9, "small tiles": 486e9}, 0.94e-6, 24, 47e-6, 145e-6, 4.2e-6, 0.78e-6, 123e-9
)
WORST = Rates(
    {"packets": 344e9, "tiles": 345e9, "small tiles": 188e9}, 1.7e-6, 36, 282e-6, 375e-6, 5.1e-6, 0.91e-6, 146e-9
)
"""The likely rates, and the best and the worst of what others measured."""
