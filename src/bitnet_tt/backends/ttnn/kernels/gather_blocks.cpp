// Copies the cache blocks [blocks, heads, 32, width] that the first rows and columns of a table name into one tensor
// [sequences, heads, 32 * length, width].
//
// Common arguments: addresses of cache, table and target; sequences; blocks a sequence; columns of the table.
// Compile-time arguments: cores, cores in a row of the grid, heads, width / 32, bytes of a tile, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t heads = get_compile_time_arg_val(2);
    constexpr uint32_t columns = get_compile_time_arg_val(3);
    constexpr uint32_t tile_bytes = get_compile_time_arg_val(4);
    constexpr auto cache_args = TensorAccessorArgs<5>();
    constexpr auto table_args = TensorAccessorArgs<cache_args.next_compile_time_args_offset()>();
    constexpr auto target_args = TensorAccessorArgs<table_args.next_compile_time_args_offset()>();

    const uint32_t sequences = get_common_arg_val<uint32_t>(3);
    const uint32_t length = get_common_arg_val<uint32_t>(4);
    const auto cache = TensorAccessor(cache_args, get_common_arg_val<uint32_t>(0), tile_bytes);
    const auto table = TensorAccessor(table_args, get_common_arg_val<uint32_t>(1), get_common_arg_val<uint32_t>(5) * 4);
    const auto target = TensorAccessor(target_args, get_common_arg_val<uint32_t>(2), tile_bytes);
    const uint32_t tiles = get_write_ptr(0);
    const uint32_t names = get_write_ptr(1);
    const volatile tt_l1_ptr uint32_t* block_of = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    uint32_t known = sequences;
    for (uint32_t work = core; work < sequences * heads * length; work += cores) {
        const uint32_t position = work % length;
        const uint32_t head = work / length % heads;
        const uint32_t sequence = work / length / heads;
        if (sequence != known) {
            noc_async_read(table.get_noc_addr(sequence), names, length * 4);
            noc_async_read_barrier();
            known = sequence;
        }
        const uint32_t page = (block_of[position] * heads + head) * columns;
        for (uint32_t column = 0; column < columns; ++column) {
            noc_async_read(cache.get_noc_addr(page + column), tiles + column * tile_bytes, tile_bytes);
        }
        noc_async_read_barrier();
        for (uint32_t column = 0; column < columns; ++column) {
            noc_async_write(tiles + column * tile_bytes, target.get_noc_addr(work * columns + column), tile_bytes);
        }
        noc_async_write_barrier();
    }
}
