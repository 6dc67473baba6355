"""A card: reports its cores and memory, puts tensors on it, and reads them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ttnn
from numpy.typing import NDArray

from bitnet_tt.backends.tt.device.patience import Patience
from bitnet_tt.backends.tt.device.traces import Traces
from bitnet_tt.backends.tt.environment import is_mock
from bitnet_tt.backends.tt.planning.grid import Grid


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
    """One Tenstorrent device: a card, a simulator or a mock, depending on ttnn's environment variables.

    `open_cards` makes it, see `mesh.py`.

    Attributes:
        device: ttnn's device, a mesh of one.
        traces: The traces of the steps that run on it.
        place: Its place in the chain of cards, from 0.
    """

    def __init__(self, device: Any, close: Callable[[], None], place: int, patience: Patience) -> None:
        """Wrap an open device.

        Args:
            device: The device.
            close: Closes it and all devices that were opened with it.
            place: Its place in the chain of cards, from 0.
            patience: Waits for it.
        """
        self.device = device
        self.place = place
        self._patience = patience
        self.traces = Traces(_Recorder(device) if _has_traces(device) else None)
        self._close = close

    def close(self) -> None:
        """Close this card and all that were opened with it, so that other processes can use them."""
        self._close()

    @property
    def node(self) -> Any:
        """The card's name on the fabric, the network of the cards."""
        return self.device.get_fabric_node_id(ttnn.MeshCoordinate(0, 0))

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
            self._patience.wait(partial(ttnn.event_synchronize, event))
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
