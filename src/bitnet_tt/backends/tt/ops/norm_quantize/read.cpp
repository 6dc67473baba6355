// Reads rows of tiled float32 tensors for rows_compute.cpp: a core takes a row, and gets it as pages of 1024
// consecutive elements, zeros after the last. First may be heads [sequences, key/value heads, R, head_dim] instead, of
// float32 or bfloat16, whose rows are query heads that share a key/value head, of all tokens of a sequence, see
// heads_write.cpp. Second is read by rows_write.cpp, at the same time.
//
// Common arguments: addresses of first, largest and gain; rows; scales of first and second as bits; tokens of a
// sequence.
// Compile-time arguments: cores, cores in a row of the grid, whether there is a second, whether the source is scaled by
// largest, whether there is a gain, width / 32, pages of a row, columns of tiles of first, query heads of a key/value
// head or 0, key/value heads, bytes of an element of first, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "../common/rows.hpp"

// A row of heads to L1.
template <uint32_t element, typename Accessor>
static inline void read_heads(const Accessor& heads, uint32_t row, uint32_t tokens, uint32_t group, uint32_t key_heads,
                              uint32_t columns, uint32_t to) {
    const uint32_t places = get_write_ptr(rows::PLACES);
    const uint32_t row_tiles = (group * tokens + rows::TILE - 1) / rows::TILE;
    uint32_t place = element == 4 ? to : places, piece = 0;
    for (uint32_t head = 0; head < group * key_heads; ++head) {
        const uint32_t matrix = row / tokens * key_heads + head / group;
        const uint32_t matrix_row = head % group * tokens + row % tokens;
        const uint32_t first = (matrix * row_tiles + matrix_row / rows::TILE) * columns;
        // DRAM is read 64 bytes at a time: of bfloat16 two rows at once.
        const uint32_t offset = rows::offset<element>(matrix_row) / rows::FACE_ROW<4> * rows::FACE_ROW<4>;
        for (uint32_t page = first; page < first + columns; ++page) {
            const uint64_t from = heads.get_noc_addr(page, offset);
            noc_async_read(from, place, rows::FACE_ROW<4>);
            noc_async_read(from + rows::NEXT_FACE<element>, place + rows::FACE_ROW<4>, rows::FACE_ROW<4>);
            place += 2 * rows::FACE_ROW<4>;
            piece += 2;
        }
    }
    if constexpr (element == 2) {
        noc_async_read_barrier();
        const auto target = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(to);
        for (uint32_t index = 0; index < piece; ++index) {
            const uint32_t head = index / (2 * columns);
            const uint32_t second = (head % group * tokens + row % tokens) % 2;
            const auto pair = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(places + index * rows::FACE_ROW<4>);
            for (uint32_t word = 0; word < rows::FACE / 2; ++word) {
                const uint32_t two = pair[second * rows::FACE / 2 + word];
                target[index * rows::FACE + 2 * word] = two << 16;
                target[index * rows::FACE + 2 * word + 1] = two & 0xFFFF0000;
            }
        }
    }
}

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr bool has_second = get_compile_time_arg_val(2);
    constexpr bool scaled = get_compile_time_arg_val(3);
    constexpr bool has_gain = get_compile_time_arg_val(4);
    constexpr uint32_t width = get_compile_time_arg_val(5);
    constexpr uint32_t pages = get_compile_time_arg_val(6);
    constexpr uint32_t columns = get_compile_time_arg_val(7);
    constexpr uint32_t group = get_compile_time_arg_val(8);
    constexpr uint32_t key_heads = get_compile_time_arg_val(9);
    constexpr uint32_t element = get_compile_time_arg_val(10);
    constexpr auto first_args = TensorAccessorArgs<11>();
    constexpr auto largest_args = TensorAccessorArgs<first_args.next_compile_time_args_offset()>();
    constexpr auto gain_args = TensorAccessorArgs<largest_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile = rows::TILE * rows::TILE;

    const auto first = TensorAccessor(first_args, get_common_arg_val<uint32_t>(0), tile * element);
    const auto largest = TensorAccessor(largest_args, get_common_arg_val<uint32_t>(1), tile * 4);
    const auto gain = TensorAccessor(gain_args, get_common_arg_val<uint32_t>(2), pages * rows::PAGE * 4);
    const uint32_t count = get_common_arg_val<uint32_t>(3);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    rows::fill(rows::FIRST, width * rows::TILE, pages, 0);
    if constexpr (has_gain) {
        cb_reserve_back(rows::GAIN, pages);
        noc_async_read(gain.get_noc_addr(0), get_write_ptr(rows::GAIN), pages * rows::PAGE * 4);
    }
    for (uint32_t row = core; row < count; row += cores) {
        cb_reserve_back(rows::FIRST, pages);
        const uint32_t to = get_write_ptr(rows::FIRST);
        if constexpr (group == 0) {
            rows::read<4>(first, row / rows::TILE * columns, width, rows::offset<4>(row), to);
        } else {
            read_heads<element>(first, row, get_common_arg_val<uint32_t>(6), group, key_heads, columns, to);
        }
        if constexpr (has_second) {
            cb_reserve_back(rows::SCALES, 1);
            const uint32_t scales = get_write_ptr(rows::SCALES);
            const auto words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(scales);
            uint32_t factor = 0x3F800000;
            if constexpr (scaled) {
                noc_async_read(largest.get_noc_addr(row / rows::TILE, rows::offset<4>(row)), scales, rows::FACE_ROW<4>);
                noc_async_read_barrier();
                factor = words[0];
            }
            // A vector of the compute kernel is four rows' even or odd columns: factor and scales in one vector each.
            for (uint32_t index = 0; index < 2 * rows::VECTOR; index += 2) {
                words[index] = factor;
                words[index + 1] = get_common_arg_val<uint32_t>(4);
                words[index + 2 * rows::VECTOR] = get_common_arg_val<uint32_t>(5);
            }
        }
        noc_async_read_barrier();
        if constexpr (has_gain) {
            if (row == core) {
                cb_push_back(rows::GAIN, pages);
            }
        }
        cb_push_back(rows::FIRST, pages);
        if constexpr (has_second) {
            cb_push_back(rows::SCALES, 1);
        }
    }
}
