// Read the second operand of each row for norm_quantize_compute.cpp, if there is one. Write into tiles what
// norm_quantize_compute.cpp computes: the result, and the sum of the operands and absmax if the program has tensors for
// them.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t SECOND = BUFFER("second"), RESULT = BUFFER("result");
constexpr uint32_t SUM = BUFFER("sum"), LARGEST = BUFFER("largest");

void kernel_main() {
    constexpr bool has_second = HAS_TENSOR("second"), has_sum = HAS_TENSOR("sum"), has_largest = HAS_TENSOR("largest");
    constexpr uint32_t pages = CONSTANT("pages");  // of a row
    constexpr uint32_t width = CONSTANT("width");  // tiles of a row
    // The second operand may be a part of the columns of its tensor: tiles of a row there, and the operand's first one.
    constexpr uint32_t second_columns = CONSTANT("second_columns"), second_begin = CONSTANT("second_begin");
    constexpr uint32_t element_bytes = CONSTANT("result_element_bytes");

    const auto second = TENSOR("second", tile::BYTES<4>);
    const auto sum = TENSOR("sum", tile::BYTES<4>);
    const auto result = TENSOR("result", tile::BYTES<element_bytes>);
    const auto largest = TENSOR("largest", tile::BYTES<4>);

    const work::Items items(ARGUMENT("rows"));
    if (items.empty()) {
        return;
    }
    if constexpr (has_second) {
        rows::fill(SECOND, width * tile::SIDE, pages, 0);
    }
    for (const uint32_t row : items) {
        const uint32_t row_tile = row / tile::SIDE, offset = tile::row_offset<4>(row);
        if constexpr (has_second) {
            cb_reserve_back(SECOND, pages);
            rows::read<4>(second, row_tile * second_columns + second_begin, width, offset, get_write_ptr(SECOND));
            noc_async_read_barrier();
            cb_push_back(SECOND, pages);
        }
        if constexpr (has_sum) {
            cb_wait_front(SUM, pages);
            rows::write<4>(sum, row_tile * width, width, offset, get_read_ptr(SUM));
        }
        if constexpr (has_largest) {
            // The tensor is one tile wide, and only its first column has a meaning.
            cb_wait_front(LARGEST, 1);
            noc_async_write(get_read_ptr(LARGEST), largest.get_noc_addr(row_tile, offset), tile::HALF_ROW_BYTES<4>);
        }
        cb_wait_front(RESULT, pages);
        rows::write<element_bytes>(result, row_tile * width, width, tile::row_offset<element_bytes>(row),
                                   get_read_ptr(RESULT));
        noc_async_write_barrier();
        if constexpr (has_sum) {
            cb_pop_front(SUM, pages);
        }
        if constexpr (has_largest) {
            cb_pop_front(LARGEST, 1);
        }
        cb_pop_front(RESULT, pages);
    }
}
