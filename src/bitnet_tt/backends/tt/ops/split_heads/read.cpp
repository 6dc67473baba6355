// Reads rows of a product of q, k and v for heads_compute.cpp: a core takes a row, and gets it as pages of 1024
// consecutive elements, with the cosines and signed sines of its position in step, and once more with the halves of
// each head swapped.
//
// Common arguments: addresses of product, largest, scales, cosines, signed sines and positions; rows.
// Compile-time arguments: cores, cores in a row of the grid, whether the product is scaled by largest, width / 32,
// pages of a row, columns of q and k / 32, head_dim / 32, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "../common/rows.hpp"

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr bool scaled = get_compile_time_arg_val(2);
    constexpr uint32_t width = get_compile_time_arg_val(3);
    constexpr uint32_t pages = get_compile_time_arg_val(4);
    constexpr uint32_t rotated = get_compile_time_arg_val(5);
    constexpr uint32_t head = get_compile_time_arg_val(6);
    constexpr auto product_args = TensorAccessorArgs<7>();
    constexpr auto largest_args = TensorAccessorArgs<product_args.next_compile_time_args_offset()>();
    constexpr auto scales_args = TensorAccessorArgs<largest_args.next_compile_time_args_offset()>();
    constexpr auto cos_args = TensorAccessorArgs<scales_args.next_compile_time_args_offset()>();
    constexpr auto sin_args = TensorAccessorArgs<cos_args.next_compile_time_args_offset()>();
    constexpr auto positions_args = TensorAccessorArgs<sin_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile_bytes = rows::TILE * rows::TILE * 4, column = rows::TILE * 4;

    const auto product = TensorAccessor(product_args, get_common_arg_val<uint32_t>(0), tile_bytes);
    const auto largest = TensorAccessor(largest_args, get_common_arg_val<uint32_t>(1), tile_bytes);
    const auto scales = TensorAccessor(scales_args, get_common_arg_val<uint32_t>(2), pages * rows::PAGE * 4);
    const auto cosines = TensorAccessor(cos_args, get_common_arg_val<uint32_t>(3), head * column);
    const auto sines = TensorAccessor(sin_args, get_common_arg_val<uint32_t>(4), head * column);
    const auto positions = TensorAccessor(positions_args, get_common_arg_val<uint32_t>(5), rows::FACE_ROW<4>);
    const uint32_t count = get_common_arg_val<uint32_t>(6);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    // v is not rotated: its cosines are 1, its sines 0, its other half whatever is finite. All stay from row to row.
    rows::fill(rows::FIRST, width * rows::TILE, pages, 0);
    rows::fill(rows::SECOND, rotated * rows::TILE, pages, 0);
    rows::fill(rows::COSINES, rotated * rows::TILE, pages, 0x3F800000);
    rows::fill(rows::SINES, rotated * rows::TILE, pages, 0);
    cb_reserve_back(rows::GAIN, pages);
    noc_async_read(scales.get_noc_addr(0), get_write_ptr(rows::GAIN), pages * rows::PAGE * 4);
    noc_async_read_barrier();
    cb_push_back(rows::GAIN, pages);

    for (uint32_t row = core; row < count; row += cores) {
        cb_reserve_back(rows::SCALES, 1);
        const uint32_t factors = get_write_ptr(rows::SCALES);
        const auto words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(factors);
        noc_async_read(positions.get_noc_addr(0, row / rows::FACE * rows::FACE_ROW<4>), factors, rows::FACE_ROW<4>);
        noc_async_read_barrier();
        const uint32_t position = words[row % rows::FACE];
        uint32_t factor = 0x3F800000;
        if constexpr (scaled) {
            noc_async_read(largest.get_noc_addr(row / rows::TILE, rows::offset<4>(row)), factors, rows::FACE_ROW<4>);
            noc_async_read_barrier();
            factor = words[0];
        }
        for (uint32_t index = 0; index < 2 * rows::VECTOR; ++index) {
            words[index] = factor;
        }

        cb_reserve_back(rows::FIRST, pages);
        cb_reserve_back(rows::SECOND, pages);
        cb_reserve_back(rows::COSINES, pages);
        cb_reserve_back(rows::SINES, pages);
        const uint32_t first = get_write_ptr(rows::FIRST), second = get_write_ptr(rows::SECOND);
        rows::read<4>(product, row / rows::TILE * width, width, rows::offset<4>(row), first);
        const uint64_t cos_row = cosines.get_noc_addr(position), sin_row = sines.get_noc_addr(position);
        for (uint32_t tile = 0; tile < rotated; tile += head) {
            noc_async_read(cos_row, get_write_ptr(rows::COSINES) + tile * column, head * column);
            noc_async_read(sin_row, get_write_ptr(rows::SINES) + tile * column, head * column);
        }
        noc_async_read_barrier();
        for (uint32_t half = 0; half < rotated; half += head / 2) {
            const uint32_t other = half % head == 0 ? half + head / 2 : half - head / 2;
            noc_async_read(get_noc_addr(first + half * column), second + other * column, head / 2 * column);
        }
        noc_async_read_barrier();
        cb_push_back(rows::SCALES, 1);
        cb_push_back(rows::FIRST, pages);
        cb_push_back(rows::SECOND, pages);
        cb_push_back(rows::COSINES, pages);
        cb_push_back(rows::SINES, pages);
    }
}
