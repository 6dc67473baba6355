// Writes rows of a tiled tensor [1, heads, rows, width] into cache blocks [blocks, heads, 32, width], each row to the
// slot that is named for it. Rows go straight into place, so neighbours of a row are never read, and no two cores write
// the same bytes.
//
// Common arguments: addresses of source, slots and cache; rows / 32.
// Compile-time arguments: cores, cores in a row of the grid, heads, width / 32, bytes of an element, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

constexpr uint32_t SKIP = 0xFFFFFFFF;
constexpr uint32_t TILE = 32, FACE = 16;

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t heads = get_compile_time_arg_val(2);
    constexpr uint32_t columns = get_compile_time_arg_val(3);
    constexpr uint32_t element = get_compile_time_arg_val(4);
    constexpr auto source_args = TensorAccessorArgs<5>();
    constexpr auto slots_args = TensorAccessorArgs<source_args.next_compile_time_args_offset()>();
    constexpr auto cache_args = TensorAccessorArgs<slots_args.next_compile_time_args_offset()>();
    constexpr uint32_t face_row = FACE * element;
    constexpr uint32_t tile_bytes = TILE * TILE * element;

    const uint32_t row_tiles = get_common_arg_val<uint32_t>(3);
    const auto source = TensorAccessor(source_args, get_common_arg_val<uint32_t>(0), tile_bytes);
    const auto slots = TensorAccessor(slots_args, get_common_arg_val<uint32_t>(1), row_tiles * TILE * 4);
    const auto cache = TensorAccessor(cache_args, get_common_arg_val<uint32_t>(2), tile_bytes);
    const uint32_t tile = get_write_ptr(0);
    const uint32_t names = get_write_ptr(1);
    const volatile tt_l1_ptr uint32_t* slot_of = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    for (uint32_t work = core; work < heads * row_tiles * columns; work += cores) {
        const uint32_t column = work % columns;
        const uint32_t row_tile = work / columns % row_tiles;
        const uint32_t head = work / columns / row_tiles;
        noc_async_read(slots.get_noc_addr(0, row_tile * TILE * 4), names, TILE * 4);
        noc_async_read(source.get_noc_addr(work), tile, tile_bytes);
        noc_async_read_barrier();
        for (uint32_t row = 0; row < TILE; ++row) {
            const uint32_t slot = slot_of[row];
            if (slot == SKIP) {
                continue;
            }
            const uint32_t page = (slot / TILE * heads + head) * columns + column;
            const uint32_t from = (row / FACE * 2 * FACE + row % FACE) * face_row;
            const uint32_t to = (slot % TILE / FACE * 2 * FACE + slot % FACE) * face_row;
            noc_async_write(tile + from, cache.get_noc_addr(page, to), face_row);
            noc_async_write(tile + from + FACE * face_row, cache.get_noc_addr(page, to + FACE * face_row), face_row);
        }
        noc_async_write_barrier();
    }
}
