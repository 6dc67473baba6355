// Writes what rows_compute.cpp makes of a row back into tiles: the result, and if there are, the sum that is its source
// and the greatest magnitude.
//
// Common arguments: addresses of result, sum and largest; rows.
// Compile-time arguments: cores, cores in a row of the grid, bytes of an element of the result, whether there is a sum,
// whether there is a largest, width / 32, pages of a row, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "rows.hpp"

template <uint32_t element, typename Accessor>
static inline void write_row(const Accessor& tensor, uint32_t row, uint32_t buffer, uint32_t width, uint32_t pages) {
    cb_wait_front(buffer, pages);
    uint32_t from = get_read_ptr(buffer);
    const uint32_t to = rows::offset<element>(row);
    for (uint32_t page = row / rows::TILE * width, end = page + width; page < end; ++page) {
        noc_async_write(from, tensor.get_noc_addr(page, to), rows::FACE_ROW<element>);
        from += rows::FACE_ROW<element>;
        noc_async_write(from, tensor.get_noc_addr(page, to + rows::NEXT_FACE<element>), rows::FACE_ROW<element>);
        from += rows::FACE_ROW<element>;
    }
}

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t element = get_compile_time_arg_val(2);
    constexpr bool has_sum = get_compile_time_arg_val(3);
    constexpr bool has_largest = get_compile_time_arg_val(4);
    constexpr uint32_t width = get_compile_time_arg_val(5);
    constexpr uint32_t pages = get_compile_time_arg_val(6);
    constexpr auto result_args = TensorAccessorArgs<7>();
    constexpr auto sum_args = TensorAccessorArgs<result_args.next_compile_time_args_offset()>();
    constexpr auto largest_args = TensorAccessorArgs<sum_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile = rows::TILE * rows::TILE;

    const auto result = TensorAccessor(result_args, get_common_arg_val<uint32_t>(0), tile * element);
    const auto sum = TensorAccessor(sum_args, get_common_arg_val<uint32_t>(1), tile * 4);
    const auto largest = TensorAccessor(largest_args, get_common_arg_val<uint32_t>(2), tile * 4);
    const uint32_t count = get_common_arg_val<uint32_t>(3);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    for (uint32_t row = core; row < count; row += cores) {
        if constexpr (has_sum) {
            write_row<4>(sum, row, rows::SUM, width, pages);
        }
        if constexpr (has_largest) {
            cb_wait_front(rows::LARGEST, 1);
            const uint64_t to = largest.get_noc_addr(row / rows::TILE, rows::offset<4>(row));
            noc_async_write(get_read_ptr(rows::LARGEST), to, rows::FACE_ROW<4>);
        }
        write_row<element>(result, row, rows::RESULT, width, pages);
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
