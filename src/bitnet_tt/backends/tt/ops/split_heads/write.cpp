// Writes what heads_compute.cpp makes of a row: q as matrices [sequences, key/value heads, R, head_dim] whose rows are
// the query heads that share a key/value head, of all tokens of the sequence; k and v straight into their cache slots.
//
// Common arguments: addresses of q, keys, values and slots; rows; tokens of a sequence.
// Compile-time arguments: cores, cores in a row of the grid, bytes of an element, key/value heads, query heads of each,
// head_dim / 32, pages of a row, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "../common/rows.hpp"

constexpr uint32_t SKIP = 0xFFFFFFFF;

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t element = get_compile_time_arg_val(2);
    constexpr uint32_t key_heads = get_compile_time_arg_val(3);
    constexpr uint32_t group = get_compile_time_arg_val(4);
    constexpr uint32_t columns = get_compile_time_arg_val(5);
    constexpr uint32_t pages = get_compile_time_arg_val(6);
    constexpr auto q_args = TensorAccessorArgs<7>();
    constexpr auto keys_args = TensorAccessorArgs<q_args.next_compile_time_args_offset()>();
    constexpr auto values_args = TensorAccessorArgs<keys_args.next_compile_time_args_offset()>();
    constexpr auto slots_args = TensorAccessorArgs<values_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile_bytes = rows::TILE * rows::TILE * element;

    const auto q = TensorAccessor(q_args, get_common_arg_val<uint32_t>(0), tile_bytes);
    const auto keys = TensorAccessor(keys_args, get_common_arg_val<uint32_t>(1), tile_bytes);
    const auto values = TensorAccessor(values_args, get_common_arg_val<uint32_t>(2), tile_bytes);
    const auto slots = TensorAccessor(slots_args, get_common_arg_val<uint32_t>(3), rows::FACE_ROW<4>);
    const uint32_t count = get_common_arg_val<uint32_t>(4);
    const uint32_t tokens = get_common_arg_val<uint32_t>(5);
    const uint32_t names = get_write_ptr(rows::PLACES);
    const uint32_t row_tiles = (group * tokens + rows::TILE - 1) / rows::TILE;

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    for (uint32_t row = core; row < count; row += cores) {
        noc_async_read(slots.get_noc_addr(0, row / rows::FACE * rows::FACE_ROW<4>), names, rows::FACE_ROW<4>);
        noc_async_read_barrier();
        const uint32_t slot = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names)[row % rows::FACE];
        cb_wait_front(rows::RESULT, pages);
        uint32_t from = get_read_ptr(rows::RESULT);
        for (uint32_t head = 0; head < key_heads * group; ++head) {
            const uint32_t matrix = row / tokens * key_heads + head / group;
            const uint32_t matrix_row = head % group * tokens + row % tokens;
            const uint32_t first = (matrix * row_tiles + matrix_row / rows::TILE) * columns;
            from = rows::write<element>(q, first, columns, rows::offset<element>(matrix_row), from);
        }
        if (slot != SKIP) {
            const uint32_t block = slot / rows::TILE * key_heads * columns, offset = rows::offset<element>(slot);
            from = rows::write<element>(keys, block, key_heads * columns, offset, from);
            rows::write<element>(values, block, key_heads * columns, offset, from);
        }
        noc_async_write_barrier();
        cb_pop_front(rows::RESULT, pages);
    }
}
