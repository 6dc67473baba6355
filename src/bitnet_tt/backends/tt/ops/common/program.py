"""Launch a program made of kernels of our own.

The host describes everything by name: tensors, constants, arguments and circular buffers. A kernel asks for the same
names, with the macros of `arguments.hpp`. Only this file decides where each of them lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ttnn

from bitnet_tt.backends.tt.planning.grid import TILE

_OPERATIONS = Path(__file__).parents[1]
_MAX_BUFFERS = 64
ALIGNMENT = 64
"""Bytes. A read from DRAM begins at a multiple of it, both in DRAM and in L1."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel of a program. It runs on every core, and each core takes its share of the work (`work.hpp`).

    Attributes:
        file: Path of the C++ source below `ops/`.
        tensors: Tensors that the kernel reads or writes. A name may stand for None: the kernel then runs without this
            tensor and sees that HAS_TENSOR is false.
        constants: Numbers that are known when the kernel is compiled. Every other value makes another program.
        arguments: Numbers of 32 bits that may change from one launch of a program to the next. All cores get the same.
        tables: Arrays that are known when the kernel is compiled, by the names of their macros.
        remote_tensors: Tensors in the memory of another card. The kernel has their accessors as those of `tensors`.
        uses_fabric: Whether it sends packets to another card.
    """

    file: str
    tensors: Mapping[str, ttnn.Tensor | None] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    arguments: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, Sequence[int]] = field(default_factory=dict)
    remote_tensors: Mapping[str, ttnn.Tensor] = field(default_factory=dict)
    uses_fabric: bool = False


@dataclass(frozen=True, slots=True)
class Buffer:
    """A circular buffer, one on each core.

    Attributes:
        page_bytes: Bytes of a page. Pages are padded to a multiple of 64 bytes.
        pages: Number of pages.
        dtype: The compute kernel takes a page for a tile of this dtype.
        tile_rows: Rows of this tile; it has 32 columns.
        same_memory_as: Name of another buffer, as long as this one, in whose memory this one lies.
        multiplied: Whether the matrix engine takes it.
    """

    page_bytes: int
    pages: int = 1
    dtype: ttnn.DataType = ttnn.uint32
    tile_rows: int = TILE
    same_memory_as: str | None = None
    multiplied: bool = False

    @property
    def aligned_page_bytes(self) -> int:
        """Bytes from page to page."""
        return -(-self.page_bytes // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Route:
    """The way from one card to a neighbour over the fabric, for the writer of a program.

    Attributes:
        source: The card of the program, as the fabric names it.
        target: The neighbour.
    """

    source: Any
    target: Any

    def connect(self, program: ttnn.ProgramDescriptor, core: ttnn.CoreCoord) -> list[int]:
        """Add what a connection needs to a program. Return the run-time arguments of the kernel that opens it."""
        links = ttnn._ttnn.fabric.get_forwarding_link_indices(self.source, self.target)
        arguments: list[int] = ttnn.setup_fabric_connection(self.source, self.target, links[0], program, core)
        return arguments


def float_bits(value: float) -> int:
    """Return the bits of a float32, for a constant or an argument of a kernel."""
    return int(np.float32(value).view(np.uint32))


def launch(
    *,
    reader: Kernel,
    writer: Kernel | None = None,
    compute: Kernel | None = None,
    buffers: Mapping[str, Buffer | None],
    semaphores: Sequence[str] = (),
    whole_dest: bool = False,
    integer_products: bool = False,
    route: Route | None = None,
) -> None:
    """Run a program on all cores.

    Args:
        reader: The kernel of the first data movement processor.
        writer: The kernel of the second data movement processor.
        compute: The kernel of the three compute processors: unpacker, vector or matrix unit, packer.
        buffers: The circular buffers that the kernels share. A name may stand for None: kernels can name the buffer,
            but this program does not use it and it takes no memory.
        semaphores: Names of semaphores. Each core has one of each, 0 at the start.
        whole_dest: Whether the compute kernel has all of Dest for one step, eight tiles of float32. Otherwise it has
            half of it, and the packer empties the other half meanwhile.
        integer_products: Whether the compute kernel multiplies small integers: the matrix engine then needs one pass
            (LoFi). Otherwise it takes four (HiFi4), for the most bits of each operand.
        route: The writer sends packets on it, see `fabric.hpp`. The program then runs on the first core alone.
    """
    kernels = [(reader, ttnn.ReaderConfigDescriptor())]
    if writer is not None:
        kernels.append((writer, ttnn.WriterConfigDescriptor()))
    if compute is not None:
        kernels.append((compute, _compute_config(buffers, whole_dest, integer_products)))
    tensors = [tensor for kernel, _ in kernels for tensor in kernel.tensors.values() if tensor is not None]
    grid = tensors[0].device().compute_with_storage_grid_size()
    first = ttnn.CoreCoord(0, 0)
    last = first if route is not None else ttnn.CoreCoord(grid.x - 1, grid.y - 1)
    cores = ttnn.CoreRangeSet([ttnn.CoreRange(first, last)])
    shared = {"grid_columns": grid.x, "grid_cores": grid.x * grid.y}
    # Any index is good for an input or an output: tt-metal keeps formats and counters for every index alike.
    shared |= {f"buffer_{name}": index for index, name in enumerate(buffers)}
    shared |= {f"semaphore_{name}": index for index, name in enumerate(semaphores)}
    program = ttnn.ProgramDescriptor(
        kernels=[_describe_kernel(kernel, config, cores, shared) for kernel, config in kernels],
        semaphores=[
            ttnn.SemaphoreDescriptor(id=index, core_ranges=cores, initial_value=0) for index in range(len(semaphores))
        ],
        cbs=_describe_buffers(buffers, cores),
    )
    if route is not None:
        _, described_writer, *_ = program.kernels
        described_writer.runtime_args = [(first, route.connect(program, first))]
    # It wants an input and an output. A program that sends its only tensor to another card has no second one.
    ttnn.generic_op(tensors if len(tensors) > 1 else tensors * 2, program)


def _compute_config(
    buffers: Mapping[str, Buffer | None], whole_dest: bool, integer_products: bool
) -> ttnn.ComputeConfigDescriptor:
    """Return the setting for float32: tiles of float32 buffers go to Dest with all their bits.

    The matrix engine's operands do not: its registers hold 19 bits of each number.
    """
    modes = [ttnn.UnpackToDestMode.Default] * _MAX_BUFFERS
    for index, buffer in enumerate(buffers.values()):
        if buffer is not None and buffer.dtype == ttnn.float32 and not buffer.multiplied:
            modes[index] = ttnn.UnpackToDestMode.UnpackToDestFp32
    config = ttnn.ComputeConfigDescriptor(fp32_dest_acc_en=True, dst_full_sync_en=whole_dest)
    if integer_products:
        config.math_fidelity = ttnn.MathFidelity.LoFi
    config.unpack_to_dest_mode = modes
    return config


def _describe_kernel(
    kernel: Kernel, config: Any, cores: ttnn.CoreRangeSet, shared: Mapping[str, int]
) -> ttnn.KernelDescriptor:
    """Lay out the positional arguments of a kernel, and name the place of each of them."""
    names = dict(shared)
    accessors: list[int] = []  # positional compile-time arguments: how each tensor's pages are spread over banks
    arguments: list[int] = []  # common run-time arguments: first each tensor's address
    tensors = {**kernel.tensors, **kernel.remote_tensors}
    present = [tensor for tensor in tensors.values() if tensor is not None]
    for name, tensor in tensors.items():
        names |= {
            f"has_{name}": int(tensor is not None),
            f"accessor_{name}": len(accessors),
            f"address_{name}": len(arguments),
        }
        # The code that would use an absent tensor must compile too. It never runs, so any tensor will do.
        stand_in = present[0] if tensor is None else tensor
        accessors += ttnn.TensorAccessorArgs(stand_in).get_compile_time_args()
        arguments.append(stand_in.buffer_address())
    for name, value in kernel.arguments.items():
        names[f"argument_{name}"] = len(arguments)
        arguments.append(value)
    names |= {f"constant_{name}": value for name, value in kernel.constants.items()}
    return ttnn.KernelDescriptor(
        kernel_source=str(_OPERATIONS / kernel.file),
        core_ranges=cores,
        compile_time_args=accessors,
        named_compile_time_args=list(names.items()),
        common_runtime_args=arguments,
        defines=[(name, "{" + ", ".join(map(str, values)) + "}") for name, values in kernel.tables.items()]
        + (ttnn.get_fabric_kernel_defines() if kernel.uses_fabric else []),
        config=config,
    )


def _describe_buffers(buffers: Mapping[str, Buffer | None], cores: ttnn.CoreRangeSet) -> list[ttnn.CBDescriptor]:
    """Describe each piece of memory, with the buffers that lie in it."""
    layouts: dict[str, list[ttnn.CBFormatDescriptor]] = {}
    for index, (name, buffer) in enumerate(buffers.items()):
        if buffer is not None:
            layout = ttnn.CBFormatDescriptor(
                buffer_index=index,
                data_format=buffer.dtype,
                page_size=buffer.aligned_page_bytes,
                tile=ttnn.TileDescriptor(buffer.tile_rows, TILE),
            )
            layouts.setdefault(buffer.same_memory_as or name, []).append(layout)
    sizes = {name: buffer.aligned_page_bytes * buffer.pages for name, buffer in buffers.items() if buffer is not None}
    return [
        ttnn.CBDescriptor(total_size=sizes[name], core_ranges=cores, format_descriptors=group)
        for name, group in layouts.items()
    ]
