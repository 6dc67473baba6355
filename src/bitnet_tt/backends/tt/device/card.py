"""The card: opened, asked what it is, and closed on every path."""

from __future__ import annotations

import itertools
import os
import weakref
from typing import Any, ClassVar

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.planning.plan import Grid
from bitnet_tt.errors import DeviceError


class _Recorder:
    """Traces of a device, see `Recorder`."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def begin(self) -> Any:
        return ttnn.begin_trace_capture(self._device, cq_id=0)

    def end(self, trace: Any) -> None:
        ttnn.end_trace_capture(self._device, trace, cq_id=0)

    def execute(self, trace: Any) -> None:
        ttnn.execute_trace(self._device, trace, cq_id=0, blocking=False)

    def release(self, trace: Any) -> None:
        ttnn.release_trace(self._device, trace)


class Card:
    """The first Tenstorrent device there is: a card, a simulator or a mock, as ttnn's own environment says.

    It is a mesh of one. Closing it more than once is fine; it is closed at the latest when it is forgotten or Python
    ends.

    Attributes:
        device: ttnn's.
        traces: Of the steps it runs.
    """

    _open: ClassVar[weakref.ref[Card] | None] = None

    def __init__(self, trace_bytes: int = 0) -> None:
        """Open it.

        Args:
            trace_bytes: DRAM to set aside for traces.

        Raises:
            DeviceError: There is none, or it does not open; the message says what ttnn said.
        """
        if Card._open is not None and Card._open() is not None:
            raise DeviceError("this process has the Tenstorrent device open already; close the other model first")
        try:
            self.device: Any = ttnn.open_mesh_device(ttnn.MeshShape(1, 1), trace_region_size=trace_bytes)
        except RuntimeError as error:
            raise DeviceError(
                f"ttnn opens no Tenstorrent device ({_reason(error)}); put a card in and install the tt-kmd driver, "
                "so that /dev/tenstorrent is there and no other process uses it, or set TT_METAL_SIMULATOR"
            ) from None
        self.traces = Traces(_Recorder(self.device) if _records(self.device) else None)
        self._close = weakref.finalize(self, _close, self.device, self.traces)
        Card._open = weakref.ref(self)

    def close(self) -> None:
        """Give the device back to others."""
        self._close()
        Card._open = None

    @property
    def grid(self) -> Grid:
        """Cores and memory, as the device reports them."""
        cores = self.device.compute_with_storage_grid_size()
        dram = ttnn.get_memory_view(self.device, ttnn.BufferType.DRAM)
        l1 = ttnn.get_memory_view(self.device, ttnn.BufferType.L1)
        return Grid(
            cores.x, cores.y, l1.total_bytes_per_bank, dram.num_banks * dram.total_bytes_per_bank, dram.num_banks
        )

    @property
    def description(self) -> str:
        """Such as `tt (blackhole, 110 cores)`."""
        grid = self.grid
        return f"tt ({str(self.device.arch()).rpartition('.')[2].lower()}, {grid.cores} cores)"

    def tiles(self, array: NDArray[np.float32], dtype: Any) -> Any:
        """Put a float32 array into DRAM in tiles of a dtype."""
        return ttnn.Tensor(np.ascontiguousarray(array), dtype, self.device, ttnn.TILE_LAYOUT)

    def rows(self, array: NDArray[Any], dtype: Any) -> Any:
        """Put an array into DRAM row by row, a row a page."""
        return ttnn.Tensor(np.ascontiguousarray(array), dtype, self.device, ttnn.ROW_MAJOR_LAYOUT)

    def zeros(self, shape: list[int], dtype: Any) -> Any:
        """A tensor of tiles of zeros in DRAM."""
        return ttnn.zeros(shape, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=self.device)


def _records(device: Any) -> bool:
    """Whether a device has traces. Where the host starts each program, as on a simulator, it has none."""
    if "TT_METAL_MOCK_CLUSTER_DESC_PATH" in os.environ:  # ttnn's own: there, recording would end the process
        return False
    try:
        ttnn.device.disable_asynchronous_slow_dispatch(device)  # which is off anyway; refused where dispatch is fast
    except RuntimeError:
        return True
    return False


def _close(device: Any, traces: Traces) -> None:
    traces.release()
    ttnn.close_mesh_device(device)


def to_host(tensor: Any) -> NDArray[np.float32]:
    """Bring a tensor from the device, whatever its dtype, as float32."""
    host: NDArray[np.float32] = ttnn.typecast(tensor, ttnn.float32).cpu().to_numpy()
    return host


def _reason(error: RuntimeError) -> str:
    """The one line of a TT_FATAL that is for people."""
    lines = str(error).splitlines()
    for line, following in itertools.pairwise(lines):
        if line.strip() == "info:":
            return following.strip()
    return lines[0] if lines else "no reason given"
