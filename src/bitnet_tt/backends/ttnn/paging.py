"""The paged KV cache on the device: rows into slots, blocks out of tables, by two small kernels of our own.

The stock operations write whole blocks or one row a core, take no float32, and read pages only inside their attention.
"""

from __future__ import annotations

from pathlib import Path

import ttnn

from bitnet_tt.backends.ttnn.plan import TILE

_KERNELS = Path(__file__).parent / "kernels"


def scatter_rows(source: ttnn.Tensor, slots: ttnn.Tensor, cache: ttnn.Tensor) -> None:
    """Write rows into the cache.

    Args:
        source: [1, heads, rows, head_dim], tiled, of the cache's dtype; rows a multiple of 32.
        slots: uint32 [1, rows], row-major: block * 32 + position in the block, or `groups.SKIP`.
        cache: [blocks, heads, 32, head_dim], tiled.
    """
    _, heads, rows, width = source.shape
    element = source.element_size()
    _run(
        "scatter_rows.cpp",
        tensors=[source, slots, cache],
        counts=[rows // TILE],
        sizes=[heads, width // TILE, element],
        buffers=[TILE * TILE * element, TILE * slots.element_size()],
    )


def gather_blocks(cache: ttnn.Tensor, table: ttnn.Tensor) -> ttnn.Tensor:
    """Copy blocks out of the cache.

    Args:
        cache: [blocks, heads, 32, head_dim], tiled.
        table: uint32 [sequences, length], row-major: block numbers, each inside the cache.

    Returns:
        [sequences, heads, 32 * length, head_dim], tiled, of the cache's dtype.
    """
    _, heads, _, width = cache.shape
    sequences, length = table.shape
    tile_bytes = TILE * TILE * cache.element_size()
    target = ttnn.empty(
        [sequences, heads, TILE * length, width], dtype=cache.dtype, layout=ttnn.TILE_LAYOUT, device=cache.device()
    )
    _run(
        "gather_blocks.cpp",
        tensors=[cache, table, target],
        counts=[sequences, length],
        sizes=[heads, width // TILE, tile_bytes],
        buffers=[width // TILE * tile_bytes, length * table.element_size()],
    )
    return target


def _run(kernel: str, tensors: list[ttnn.Tensor], counts: list[int], sizes: list[int], buffers: list[int]) -> None:
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
    ttnn.generic_op(tensors, program)


def _buffer(index: int, size: int, cores: ttnn.CoreRangeSet) -> ttnn.CBDescriptor:
    aligned = -(-size // 64) * 64  # what a read from DRAM needs
    layout = ttnn.CBFormatDescriptor(buffer_index=index, data_format=ttnn.uint32, page_size=aligned)
    return ttnn.CBDescriptor(total_size=aligned, core_ranges=cores, format_descriptors=[layout])
