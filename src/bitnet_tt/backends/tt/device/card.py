"""The card: opens the device, reports its cores and memory, and closes it on every path."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.shared_memory import remove_own_locks
from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.environment import is_mock, keep_folders_clean
from bitnet_tt.backends.tt.planning.grid import Grid
from bitnet_tt.errors import DeviceError


class _Recorder:
    """Records the traces of one device, see `Recorder`."""

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
    """The first Tenstorrent device: a card, a simulator or a mock, depending on ttnn's environment variables.

    It is opened as a mesh of one device. A process can have one open card. `close` may be called more than once; the
    device is also closed when the object is collected, or when Python ends.

    Attributes:
        device: ttnn's device.
        traces: The traces of the steps that run on it.
    """

    _open: ClassVar[weakref.ref[Card] | None] = None

    def __init__(self, trace_bytes: int = 0) -> None:
        """Open the device.

        Args:
            trace_bytes: DRAM to reserve for traces.

        Raises:
            DeviceError: This process has a card open already, or ttnn opens none; the message gives ttnn's reason.
        """
        if Card._open is not None and Card._open() is not None:
            raise DeviceError("this process has the Tenstorrent device open already; close the other model first")
        keep_folders_clean()
        try:
            self.device: Any = ttnn.open_mesh_device(ttnn.MeshShape(1, 1), trace_region_size=trace_bytes)
        except RuntimeError as error:
            raise DeviceError(
                f"ttnn cannot open a Tenstorrent device ({_reason(error)}); check that the card is in, that the tt-kmd "
                "driver is installed (there is a /dev/tenstorrent), and that no other process uses the card "
                "(bitnet-tt doctor helps), or set TT_METAL_SIMULATOR"
            ) from None
        self.traces = Traces(None)
        self._close = weakref.finalize(self, _close, self.device, self.traces)
        if _has_traces(self.device):
            self.traces.recorder = _Recorder(self.device)
        Card._open = weakref.ref(self)

    def close(self) -> None:
        """Close the device, so that other processes can use it."""
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
    def beside_banks(self) -> list[tuple[int, int]]:
        """For each bank of DRAM, column and row of the core that reads it best."""
        cores = ttnn.get_optimal_dram_bank_to_logical_worker_assignment(self.device, ttnn.NOC.RISCV_0_default)
        return [(core.x, core.y) for core in cores]

    @property
    def description(self) -> str:
        """The device in a few words for people, such as `tt (blackhole, 110 cores)`."""
        grid = self.grid
        return f"tt ({str(self.device.arch()).rpartition('.')[2].lower()}, {grid.cores} cores)"

    def tiles(self, array: NDArray[np.float32], dtype: Any) -> Any:
        """Put a float32 array into DRAM as tiles of `dtype`."""
        return ttnn.Tensor(np.ascontiguousarray(array), dtype, self.device, ttnn.TILE_LAYOUT)

    def rows(self, array: NDArray[Any], dtype: Any) -> Any:
        """Put an array into DRAM in row-major order; each row is one page."""
        return ttnn.Tensor(np.ascontiguousarray(array), dtype, self.device, ttnn.ROW_MAJOR_LAYOUT)

    def read_later(self, tensor: Any) -> Callable[[], NDArray[Any]]:
        """Read a tensor behind everything that was launched so far, and return without waiting for it.

        Where the device has no queue, it is read at once.

        Returns:
            A function that waits for the array and returns it. It must live until the device has read the tensor.
        """
        if self.traces.recorder is None:
            array: NDArray[Any] = tensor.cpu().to_numpy()
            return lambda: array
        host = tensor.cpu(blocking=False)
        event = ttnn.record_event(self.device, 0)

        def wait() -> NDArray[Any]:
            ttnn.event_synchronize(event)
            arrived: NDArray[Any] = host.to_numpy()
            return arrived

        return wait

    def zeros(self, shape: list[int], dtype: Any) -> Any:
        """Make a tensor of zeros in DRAM, as tiles."""
        return ttnn.zeros(shape, dtype=dtype, layout=ttnn.TILE_LAYOUT, device=self.device)


def _has_traces(device: Any) -> bool:
    """Whether a device can record traces. It cannot with slow dispatch, where the host starts each program."""
    if is_mock():  # recording would end the process there
        return False
    try:
        # This mode is off anyway. ttnn refuses the call where dispatch is fast, which tells us the kind of dispatch.
        ttnn.device.disable_asynchronous_slow_dispatch(device)
    except RuntimeError:
        return True
    return False


def _close(device: Any, traces: Traces) -> None:
    try:
        if traces.recorder is not None:
            ttnn.synchronize_device(device)  # a step that nobody has read may still run
        traces.release()
    finally:
        try:
            ttnn.close_mesh_device(device)
        finally:
            remove_own_locks()


def _reason(error: RuntimeError) -> str:
    """Return the one line of a TT_FATAL message that is written for people."""
    lines = str(error).splitlines()
    for line, following in itertools.pairwise(lines):
        if line.strip() == "info:":
            return following.strip()
    return lines[0] if lines else "no reason given"
