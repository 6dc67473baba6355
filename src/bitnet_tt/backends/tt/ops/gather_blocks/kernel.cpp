// Copies keys, then values: the cache blocks [blocks, heads, 32, width] that the first rows and columns of a table name
// into one tensor [sequences, heads, 32 * length, width].
//
// Common arguments: addresses of keys, values, table, and the targets of either; sequences; blocks a sequence; columns
// of the table. Compile-time arguments: cores, cores in a row of the grid, heads, width / 32, bytes of a tile,
// accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t heads = get_compile_time_arg_val(2);
    constexpr uint32_t columns = get_compile_time_arg_val(3);
    constexpr uint32_t tile_bytes = get_compile_time_arg_val(4);
    constexpr auto keys_args = TensorAccessorArgs<5>();
    constexpr auto values_args = TensorAccessorArgs<keys_args.next_compile_time_args_offset()>();
    constexpr auto table_args = TensorAccessorArgs<values_args.next_compile_time_args_offset()>();
    constexpr auto key_target_args = TensorAccessorArgs<table_args.next_compile_time_args_offset()>();
    constexpr auto value_target_args = TensorAccessorArgs<key_target_args.next_compile_time_args_offset()>();

    const uint32_t sequences = get_common_arg_val<uint32_t>(5);
    const uint32_t length = get_common_arg_val<uint32_t>(6);
    const auto keys = TensorAccessor(keys_args, get_common_arg_val<uint32_t>(0), tile_bytes);
    const auto values = TensorAccessor(values_args, get_common_arg_val<uint32_t>(1), tile_bytes);
    const auto table = TensorAccessor(table_args, get_common_arg_val<uint32_t>(2), get_common_arg_val<uint32_t>(7) * 4);
    const auto key_target = TensorAccessor(key_target_args, get_common_arg_val<uint32_t>(3), tile_bytes);
    const auto value_target = TensorAccessor(value_target_args, get_common_arg_val<uint32_t>(4), tile_bytes);
    const uint32_t tiles = get_write_ptr(0);
    const uint32_t names = get_write_ptr(1);
    const volatile tt_l1_ptr uint32_t* block_of = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    uint32_t known = sequences;
    const uint32_t pieces = sequences * heads * length;
    for (uint32_t work = core; work < 2 * pieces; work += cores) {
        const bool of_values = work >= pieces;
        const uint32_t piece = of_values ? work - pieces : work;
        const uint32_t position = piece % length;
        const uint32_t head = piece / length % heads;
        const uint32_t sequence = piece / length / heads;
        if (sequence != known) {
            noc_async_read(table.get_noc_addr(sequence), names, length * 4);
            noc_async_read_barrier();
            known = sequence;
        }
        const uint32_t from = (block_of[position] * heads + head) * columns, to = piece * columns;
        for (uint32_t column = 0; column < columns; ++column) {
            const uint32_t page = from + column;
            const uint64_t source = of_values ? values.get_noc_addr(page) : keys.get_noc_addr(page);
            noc_async_read(source, tiles + column * tile_bytes, tile_bytes);
        }
        noc_async_read_barrier();
        for (uint32_t column = 0; column < columns; ++column) {
            const uint32_t page = to + column;
            const uint64_t target = of_values ? value_target.get_noc_addr(page) : key_target.get_noc_addr(page);
            noc_async_write(tiles + column * tile_bytes, target, tile_bytes);
        }
        noc_async_write_barrier();
    }
}
