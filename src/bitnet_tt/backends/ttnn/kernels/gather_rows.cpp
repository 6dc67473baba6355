// Looks up rows of a row-major table [length, width] by position, into tiles [1, 1, rows, width].
//
// Common arguments: addresses of table, positions and target; rows / 32.
// Compile-time arguments: cores, cores in a row of the grid, width / 32, bytes of an element, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

constexpr uint32_t TILE = 32, FACE = 16;

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t columns = get_compile_time_arg_val(2);
    constexpr uint32_t element = get_compile_time_arg_val(3);
    constexpr auto table_args = TensorAccessorArgs<4>();
    constexpr auto positions_args = TensorAccessorArgs<table_args.next_compile_time_args_offset()>();
    constexpr auto target_args = TensorAccessorArgs<positions_args.next_compile_time_args_offset()>();
    constexpr uint32_t face_row = FACE * element;
    constexpr uint32_t tile_bytes = TILE * TILE * element;

    const uint32_t row_tiles = get_common_arg_val<uint32_t>(3);
    const auto table = TensorAccessor(table_args, get_common_arg_val<uint32_t>(0), columns * TILE * element);
    const auto positions = TensorAccessor(positions_args, get_common_arg_val<uint32_t>(1), row_tiles * TILE * 4);
    const auto target = TensorAccessor(target_args, get_common_arg_val<uint32_t>(2), tile_bytes);
    const uint32_t tile = get_write_ptr(0);
    const uint32_t names = get_write_ptr(1);
    const volatile tt_l1_ptr uint32_t* position_of = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    for (uint32_t work = core; work < row_tiles * columns; work += cores) {
        const uint32_t column = work % columns;
        noc_async_read(positions.get_noc_addr(0, work / columns * TILE * 4), names, TILE * 4);
        noc_async_read_barrier();
        for (uint32_t row = 0; row < TILE; ++row) {
            const uint32_t position = position_of[row];
            const uint32_t to = tile + (row / FACE * 2 * FACE + row % FACE) * face_row;
            const uint32_t from = column * 2 * face_row;
            noc_async_read(table.get_noc_addr(position, from), to, face_row);
            noc_async_read(table.get_noc_addr(position, from + face_row), to + FACE * face_row, face_row);
        }
        noc_async_read_barrier();
        noc_async_write(tile, target.get_noc_addr(work), tile_bytes);
        noc_async_write_barrier();
    }
}
