"""Launching the data-movement kernels of our own (`kernels/`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ttnn

_KERNELS = Path(__file__).parent / "kernels"
_ALIGNMENT = 64  # of what is read from DRAM, there and in L1


def launch(
    kernel: str, tensors: Sequence[ttnn.Tensor], counts: Sequence[int], sizes: Sequence[int], buffers: Sequence[int]
) -> None:
    """Launch a data-movement kernel on every core; each takes the pieces of work whose number falls to it.

    Args:
        kernel: File name.
        tensors: Its tensors, the last one written.
        counts: Common run-time arguments after the tensors' addresses.
        sizes: Compile-time arguments after the grid.
        buffers: Bytes of each L1 buffer.
    """
    grid = tensors[0].device().compute_with_storage_grid_size()
    cores = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(grid.x - 1, grid.y - 1))])
    accessors = [argument for tensor in tensors for argument in ttnn.TensorAccessorArgs(tensor).get_compile_time_args()]
    program = ttnn.ProgramDescriptor(
        kernels=[
            ttnn.KernelDescriptor(
                kernel_source=str(_KERNELS / kernel),
                core_ranges=cores,
                compile_time_args=[grid.x * grid.y, grid.x, *sizes, *accessors],
                common_runtime_args=[*(tensor.buffer_address() for tensor in tensors), *counts],
                config=ttnn.ReaderConfigDescriptor(),
            )
        ],
        semaphores=[],
        cbs=[_buffer(index, size, cores) for index, size in enumerate(buffers)],
    )
    ttnn.generic_op(list(tensors), program)


def _buffer(index: int, size: int, cores: ttnn.CoreRangeSet) -> ttnn.CBDescriptor:
    aligned = -(-size // _ALIGNMENT) * _ALIGNMENT
    layout = ttnn.CBFormatDescriptor(buffer_index=index, data_format=ttnn.uint32, page_size=aligned)
    return ttnn.CBDescriptor(total_size=aligned, core_ranges=cores, format_descriptors=[layout])
