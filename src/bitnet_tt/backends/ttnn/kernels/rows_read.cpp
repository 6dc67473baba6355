// Reads rows of tiled float32 tensors for rows_compute.cpp: a core takes a row, and gets it as pages of 1024
// consecutive elements, zeros after the last.
//
// Common arguments: addresses of first, second, largest and gain; rows; scales of first and second as bits.
// Compile-time arguments: cores, cores in a row of the grid, source (0: first, 1: first + second, 2: first with
// second), whether the source is scaled by largest, whether there is a gain, width / 32, pages of a row, columns of
// tiles of first and of second and where in the latter the row begins, accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "rows.hpp"

template <typename Accessor>
static inline void read_row(const Accessor& tensor, uint32_t row, uint32_t columns, uint32_t first, uint32_t buffer,
                            uint32_t width, uint32_t pages) {
    cb_reserve_back(buffer, pages);
    uint32_t to = get_write_ptr(buffer);
    const uint32_t from = rows::offset<4>(row);
    for (uint32_t page = row / rows::TILE * columns + first, end = page + width; page < end; ++page) {
        noc_async_read(tensor.get_noc_addr(page, from), to, rows::FACE_ROW<4>);
        to += rows::FACE_ROW<4>;
        noc_async_read(tensor.get_noc_addr(page, from + rows::NEXT_FACE<4>), to, rows::FACE_ROW<4>);
        to += rows::FACE_ROW<4>;
    }
}

// Columns of tiles of a row of heads, to a buffer.
template <uint32_t element, typename Accessor>
static inline void read_heads(const Accessor& heads, uint32_t row, uint32_t tokens, uint32_t group, uint32_t key_heads,
                              uint32_t columns, uint32_t buffer, uint32_t width, uint32_t pages) {
    cb_reserve_back(buffer, pages);
    const uint32_t to = get_write_ptr(buffer), places = get_write_ptr(rows::PLACES);
    const uint32_t row_tiles = (group * tokens + rows::TILE - 1) / rows::TILE;
    uint32_t piece = 0;
    for (uint32_t head = 0; head < group * key_heads; ++head) {
        const uint32_t matrix = row / tokens * key_heads + head / group;
        const uint32_t matrix_row = head % group * tokens + row % tokens;
        const uint32_t first = (matrix * row_tiles + matrix_row / rows::TILE) * columns;
        // DRAM is read 64 bytes at a time: of bfloat16 two rows at once.
        const uint32_t from = rows::offset<element>(matrix_row) / rows::FACE_ROW<4> * rows::FACE_ROW<4>;
        for (uint32_t page = first; page < first + columns; ++page) {
            const uint32_t place = (element == 4 ? to : places) + piece * rows::FACE_ROW<4>;
            noc_async_read(heads.get_noc_addr(page, from), place, rows::FACE_ROW<4>);
            const uint64_t right = heads.get_noc_addr(page, from + rows::NEXT_FACE<element>);
            noc_async_read(right, place + rows::FACE_ROW<4>, rows::FACE_ROW<4>);
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

static inline void clear_rest(uint32_t buffer, uint32_t width, uint32_t pages) {
    const uint32_t begin = get_write_ptr(buffer);
    for (uint32_t offset = width * rows::TILE * 4; offset < pages * rows::PAGE * 4; offset += 4) {
        *reinterpret_cast<volatile tt_l1_ptr uint32_t*>(begin + offset) = 0;
    }
}

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t source = get_compile_time_arg_val(2);
    constexpr bool scaled = get_compile_time_arg_val(3);
    constexpr bool has_gain = get_compile_time_arg_val(4);
    constexpr uint32_t width = get_compile_time_arg_val(5);
    constexpr uint32_t pages = get_compile_time_arg_val(6);
    constexpr uint32_t first_columns = get_compile_time_arg_val(7);
    constexpr uint32_t second_columns = get_compile_time_arg_val(8);
    constexpr uint32_t second_begin = get_compile_time_arg_val(9);
    constexpr uint32_t group = get_compile_time_arg_val(10);
    constexpr uint32_t key_heads = get_compile_time_arg_val(11);
    constexpr uint32_t element = get_compile_time_arg_val(12);
    constexpr auto first_args = TensorAccessorArgs<13>();
    constexpr auto second_args = TensorAccessorArgs<first_args.next_compile_time_args_offset()>();
    constexpr auto largest_args = TensorAccessorArgs<second_args.next_compile_time_args_offset()>();
    constexpr auto gain_args = TensorAccessorArgs<largest_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile_bytes = rows::TILE * rows::TILE * 4;

    const auto first = TensorAccessor(first_args, get_common_arg_val<uint32_t>(0), tile_bytes / 4 * element);
    const auto second = TensorAccessor(second_args, get_common_arg_val<uint32_t>(1), tile_bytes);
    const auto largest = TensorAccessor(largest_args, get_common_arg_val<uint32_t>(2), tile_bytes);
    const auto gain = TensorAccessor(gain_args, get_common_arg_val<uint32_t>(3), pages * rows::PAGE * 4);
    const uint32_t count = get_common_arg_val<uint32_t>(4);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    clear_rest(rows::FIRST, width, pages);
    if constexpr (source != 0) {
        clear_rest(rows::SECOND, width, pages);
    }
    if constexpr (has_gain) {
        cb_reserve_back(rows::GAIN, pages);
        noc_async_read(gain.get_noc_addr(0), get_write_ptr(rows::GAIN), pages * rows::PAGE * 4);
    }
    for (uint32_t row = core; row < count; row += cores) {
        if constexpr (group == 0) {
            read_row(first, row, first_columns, 0, rows::FIRST, width, pages);
        } else {
            const uint32_t tokens = get_common_arg_val<uint32_t>(7);
            read_heads<element>(first, row, tokens, group, key_heads, first_columns, rows::FIRST, width, pages);
        }
        if constexpr (source != 0) {
            read_row(second, row, second_columns, second_begin, rows::SECOND, width, pages);
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
                words[index + 1] = get_common_arg_val<uint32_t>(5);
                words[index + 2 * rows::VECTOR] = get_common_arg_val<uint32_t>(6);
            }
        }
        noc_async_read_barrier();
        if constexpr (has_gain) {
            if (row == core) {
                cb_push_back(rows::GAIN, pages);
            }
        }
        cb_push_back(rows::FIRST, pages);
        if constexpr (source != 0) {
            cb_push_back(rows::SECOND, pages);
            cb_push_back(rows::SCALES, 1);
        }
    }
}
