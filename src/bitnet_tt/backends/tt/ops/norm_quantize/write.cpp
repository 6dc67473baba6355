// Reads second for rows_compute.cpp, where there is one, and writes what that makes of a row back into tiles: the
// result, and if there are, the sum that is its source and the greatest magnitude. See rows_read.cpp.
//
// Common arguments: addresses of second, result, sum and largest; rows.
// Compile-time arguments: cores, cores in a row of the grid, whether there is a second, columns of its tiles and where
// among them the row begins, bytes of an element of the result, whether there is a sum, whether there is a largest,
// width / 32, pages of a row, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "../common/rows.hpp"

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr bool has_second = get_compile_time_arg_val(2);
    constexpr uint32_t second_columns = get_compile_time_arg_val(3);
    constexpr uint32_t second_begin = get_compile_time_arg_val(4);
    constexpr uint32_t element = get_compile_time_arg_val(5);
    constexpr bool has_sum = get_compile_time_arg_val(6);
    constexpr bool has_largest = get_compile_time_arg_val(7);
    constexpr uint32_t width = get_compile_time_arg_val(8);
    constexpr uint32_t pages = get_compile_time_arg_val(9);
    constexpr auto second_args = TensorAccessorArgs<10>();
    constexpr auto result_args = TensorAccessorArgs<second_args.next_compile_time_args_offset()>();
    constexpr auto sum_args = TensorAccessorArgs<result_args.next_compile_time_args_offset()>();
    constexpr auto largest_args = TensorAccessorArgs<sum_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile = rows::TILE * rows::TILE;

    const auto second = TensorAccessor(second_args, get_common_arg_val<uint32_t>(0), tile * 4);
    const auto result = TensorAccessor(result_args, get_common_arg_val<uint32_t>(1), tile * element);
    const auto sum = TensorAccessor(sum_args, get_common_arg_val<uint32_t>(2), tile * 4);
    const auto largest = TensorAccessor(largest_args, get_common_arg_val<uint32_t>(3), tile * 4);
    const uint32_t count = get_common_arg_val<uint32_t>(4);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    if constexpr (has_second) {
        rows::fill(rows::SECOND, width * rows::TILE, pages, 0);
    }
    for (uint32_t row = core; row < count; row += cores) {
        const uint32_t tiles = row / rows::TILE * width;
        if constexpr (has_second) {
            cb_reserve_back(rows::SECOND, pages);
            const uint32_t first = row / rows::TILE * second_columns + second_begin;
            rows::read<4>(second, first, width, rows::offset<4>(row), get_write_ptr(rows::SECOND));
            noc_async_read_barrier();
            cb_push_back(rows::SECOND, pages);
        }
        if constexpr (has_sum) {
            cb_wait_front(rows::SUM, pages);
            rows::write<4>(sum, tiles, width, rows::offset<4>(row), get_read_ptr(rows::SUM));
        }
        if constexpr (has_largest) {
            cb_wait_front(rows::LARGEST, 1);
            const uint64_t to = largest.get_noc_addr(row / rows::TILE, rows::offset<4>(row));
            noc_async_write(get_read_ptr(rows::LARGEST), to, rows::FACE_ROW<4>);
        }
        cb_wait_front(rows::RESULT, pages);
        rows::write<element>(result, tiles, width, rows::offset<element>(row), get_read_ptr(rows::RESULT));
        noc_async_write_barrier();
        if constexpr (has_sum) {
            cb_pop_front(rows::SUM, pages);
        }
        if constexpr (has_largest) {
            cb_pop_front(rows::LARGEST, 1);
        }
        cb_pop_front(rows::RESULT, pages);
    }
}
