"""What this machine allows: how fast it reads memory and multiplies int8, measured when it is needed."""

from __future__ import annotations

from bitnet_tt import _native
from bitnet_tt.backends.cpu.host import memory_limit
from bitnet_tt.bench.report.results import Roof, Spread

_GIGA = 1e9
_READ_BYTES = 1 << 30
_INT8_SECONDS = 0.1
_PASSES = 3


def measure(threads: int, isa: str | None = None) -> tuple[list[float], list[float]]:
    """Read bandwidth in GB/s and int8 peak in 10^9 operations a second, each of several passes."""
    size = min(_READ_BYTES, memory_limit() // 4)
    read = _native.measure_read_bandwidth(threads, size, passes=_PASSES)
    int8 = _native.measure_int8_peak(threads, isa or "", seconds=_INT8_SECONDS, passes=_PASSES)
    return [rate / _GIGA for rate in read], [rate / _GIGA for rate in int8]


def roof(threads: int, *measurements: tuple[list[float], list[float]]) -> Roof:
    """All passes of several calls of `measure` as one."""
    read, int8 = ([rate for rates in kind for rate in rates] for kind in zip(*measurements, strict=True))
    return Roof(threads, Spread.of(read), Spread.of(int8))
