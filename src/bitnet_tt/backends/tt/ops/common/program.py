"""Launching kernels of our own (`kernels/`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ttnn

_OPERATIONS = Path(__file__).parents[1]
_BUFFERS = 64
_ALIGNMENT = 64  # of what is read from DRAM, there and in L1


@dataclass(frozen=True, slots=True)
class Kernel:
    """One of the kernels of a program; it runs on every core, each taking the pieces of work whose number falls to it.

    Attributes:
        file: Its path below `ops/`.
        tensors: Those it reads or writes.
        counts: Common run-time arguments after the tensors' addresses.
        sizes: Compile-time arguments after the grid's and before the tensors' accessors.
        config: The processor it is for.
    """

    file: str
    tensors: Sequence[ttnn.Tensor]
    counts: Sequence[int]
    sizes: Sequence[int]
    config: Any


@dataclass(frozen=True, slots=True)
class Buffer:
    """A circular buffer on each core.

    Attributes:
        page: Bytes of a page.
        pages: How many.
        dtype: What the compute kernel takes a page for: a tile of it.
    """

    page: int
    pages: int = 1
    dtype: ttnn.DataType = ttnn.uint32


def launch(kernels: Sequence[Kernel], buffers: Mapping[int, Buffer], written: Sequence[ttnn.Tensor]) -> None:
    """Run a program on all cores.

    Args:
        kernels: At most one for each processor of a core.
        buffers: By number.
        written: The tensors it writes.
    """
    grid = written[0].device().compute_with_storage_grid_size()
    cores = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(grid.x - 1, grid.y - 1))])
    program = ttnn.ProgramDescriptor(
        kernels=[
            ttnn.KernelDescriptor(
                kernel_source=str(_OPERATIONS / kernel.file),
                core_ranges=cores,
                compile_time_args=[
                    grid.x * grid.y,
                    grid.x,
                    *kernel.sizes,
                    *(
                        size
                        for tensor in kernel.tensors
                        for size in ttnn.TensorAccessorArgs(tensor).get_compile_time_args()
                    ),
                ],
                common_runtime_args=[*(tensor.buffer_address() for tensor in kernel.tensors), *kernel.counts],
                config=kernel.config,
            )
            for kernel in kernels
        ],
        semaphores=[],
        cbs=[_describe(index, buffer, cores) for index, buffer in buffers.items()],
    )
    read = [tensor for kernel in kernels for tensor in kernel.tensors]
    ttnn.generic_op([*read, *written], program)


def move(
    file: str, tensors: Sequence[ttnn.Tensor], counts: Sequence[int], sizes: Sequence[int], buffers: Sequence[int]
) -> None:
    """Run a kernel that only moves bytes; it has buffers of so many bytes."""
    kernel = Kernel(file, tensors, counts, sizes, ttnn.ReaderConfigDescriptor())
    launch([kernel], {index: Buffer(size) for index, size in enumerate(buffers)}, tensors[-1:])


def float32_compute(buffers: Iterable[int]) -> ttnn.ComputeConfigDescriptor:
    """Tiles of these buffers go to Dest whole, past the matrix engine's operands, which would cut them to 19 bits."""
    modes = [ttnn.UnpackToDestMode.Default] * _BUFFERS
    for index in buffers:
        modes[index] = ttnn.UnpackToDestMode.UnpackToDestFp32
    config = ttnn.ComputeConfigDescriptor(fp32_dest_acc_en=True)
    config.unpack_to_dest_mode = modes
    return config


def _describe(index: int, buffer: Buffer, cores: ttnn.CoreRangeSet) -> ttnn.CBDescriptor:
    page = -(-buffer.page // _ALIGNMENT) * _ALIGNMENT
    layout = ttnn.CBFormatDescriptor(buffer_index=index, data_format=buffer.dtype, page_size=page)
    return ttnn.CBDescriptor(total_size=page * buffer.pages, core_ranges=cores, format_descriptors=[layout])
