"""The roofs of this machine: how fast its CPU reads memory and multiplies int8. They are measured, not looked up."""

from __future__ import annotations

from bitnet_tt import _native
from bitnet_tt.backends.cpu.host import memory_limit
from bitnet_tt.bench.report.results import Roof, Spread

READ_BYTES = 1 << 30
"""Bytes that each pass reads: far more than a processor's caches hold."""

INT8_SECONDS = 0.1
"""Seconds that each pass multiplies."""

_PASSES = 3
_GIGA = 1e9


def measure(threads: int, isa: str | None = None) -> tuple[list[float], list[float]]:
    """Return the read bandwidth in GB/s and the int8 peak in 10^9 operations a second, one value for each pass."""
    size = min(READ_BYTES, memory_limit() // 4)
    read = _native.measure_read_bandwidth(threads, size, passes=_PASSES)
    int8 = _native.measure_int8_peak(threads, isa or "", seconds=INT8_SECONDS, passes=_PASSES)
    return [rate / _GIGA for rate in read], [rate / _GIGA for rate in int8]


def roof(threads: int, *measurements: tuple[list[float], list[float]]) -> Roof:
    """Return the roof over the passes of one or more calls of `measure`."""
    read, int8 = ([rate for rates in kind for rate in rates] for kind in zip(*measurements, strict=True))
    return Roof(threads, Spread.of(read), Spread.of(int8))
