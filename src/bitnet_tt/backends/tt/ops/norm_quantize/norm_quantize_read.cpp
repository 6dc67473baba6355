// Read the first operand of each row for norm_quantize_compute.cpp, the scales of the operands, and the gain of the
// norm. A work item is one row: the core gets it as pages of 1024 consecutive elements, with zeros behind the row's
// end.
//
// The first operand is a tiled float32 tensor of rows, or strips. norm_quantize_write.cpp reads the second operand, on
// the other data movement processor at the same time.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t FIRST = BUFFER("first"), GAIN = BUFFER("gain"), SCALES = BUFFER("scales");

constexpr uint32_t PAGES = CONSTANT("pages");                  // of a row
constexpr uint32_t WIDTH = CONSTANT("width");                  // tiles of a row
constexpr uint32_t FIRST_COLUMNS = CONSTANT("first_columns");  // tiles of a row of the first operand's tensor
constexpr bool COMBINES = CONSTANT("combines");                // there is a second operand
constexpr bool FROM_STRIPS = CONSTANT("from_strips");
constexpr uint32_t STRIP_LINES = CONSTANT("strip_lines");  // rows that share a strip

// Start to read the first operand's row to L1.
template <typename Accessor>
static inline void read_first(const Accessor& first, uint32_t row, uint32_t to) {
    if constexpr (FROM_STRIPS) {
        strips::read_row<STRIP_LINES>(first, WIDTH * tile::SIDE, row, 0, WIDTH * tile::SIDE, to);
    } else {
        rows::read<4>(first, row / tile::SIDE * FIRST_COLUMNS, WIDTH, tile::row_offset<4>(row), to);
    }
}

// Fill the first three vectors of a page: the row's factor, and the weight scales of the product's first and second
// matrix. The vectors 0 and 1 are the even and the odd ones of the first 64 elements, vector 2 the even ones of the
// next 64 (see common/vectors.hpp). Without `largest` the factor is 1.
template <typename Accessor>
static inline void fill_scales(const Accessor& largest, uint32_t row, uint32_t to) {
    uint32_t factor = rows::FLOAT_ONE;
    if constexpr (HAS_TENSOR("largest")) {
        factor = rows::read_row_value(largest, row, to);
    }
    const rows::Words words = rows::words_at(to);
    const uint32_t first_scale = ARGUMENT("first_scale_bits"), second_scale = ARGUMENT("second_scale_bits");
    for (uint32_t index = 0; index < 64; index += 2) {
        words[index] = factor;
        words[index + 1] = first_scale;
        words[index + 64] = second_scale;
    }
}

void kernel_main() {
    const auto first = TENSOR("first", FROM_STRIPS ? strips::BYTES<STRIP_LINES> : tile::BYTES<4>);
    const auto largest = TENSOR("largest", tile::BYTES<4>);
    const auto gain = TENSOR("gain", PAGES * rows::PAGE * 4);

    const work::Items items(ARGUMENT("rows"));
    if (items.empty()) {
        return;
    }
    // The buffer holds one row. Every row overwrites the same elements, so the zeros behind them stay.
    rows::fill(FIRST, WIDTH * tile::SIDE, PAGES, 0);
    if constexpr (HAS_TENSOR("gain")) {
        cb_reserve_back(GAIN, PAGES);
        noc_async_read(gain.get_noc_addr(0), get_write_ptr(GAIN), PAGES * rows::PAGE * 4);
    }
    for (const uint32_t row : items) {
        cb_reserve_back(FIRST, PAGES);
        read_first(first, row, get_write_ptr(FIRST));
        if constexpr (COMBINES) {
            cb_reserve_back(SCALES, 1);
            fill_scales(largest, row, get_write_ptr(SCALES));
        }
        noc_async_read_barrier();
        if constexpr (HAS_TENSOR("gain")) {
            if (row == items.first()) {
                cb_push_back(GAIN, PAGES);
            }
        }
        cb_push_back(FIRST, PAGES);
        if constexpr (COMBINES) {
            cb_push_back(SCALES, 1);
        }
    }
}
