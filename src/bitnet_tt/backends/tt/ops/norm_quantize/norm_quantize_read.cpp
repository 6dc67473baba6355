// Read the first operand of each row for norm_quantize_compute.cpp, the scales of the operands, and the gain of the
// norm. A work item is one row: the core gets it as pages of 1024 consecutive elements, with zeros behind the row's
// end.
//
// The first operand is a tiled float32 tensor of rows, or the result of attention in the layout of heads.hpp, of
// float32 or bfloat16. norm_quantize_write.cpp reads the second operand, on the other data movement processor at the
// same time.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/heads.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t FIRST = BUFFER("first"), GAIN = BUFFER("gain"), SCALES = BUFFER("scales");
constexpr uint32_t RAW_HEADS = BUFFER("raw_heads");

constexpr uint32_t PAGES = CONSTANT("pages");                  // of a row
constexpr uint32_t WIDTH = CONSTANT("width");                  // tiles of a row
constexpr uint32_t FIRST_COLUMNS = CONSTANT("first_columns");  // tiles of a row of the first operand's tensor
constexpr uint32_t ELEMENT_BYTES = CONSTANT("first_element_bytes");
constexpr bool COMBINES = CONSTANT("combines");  // there is a second operand
constexpr bool FROM_HEADS = CONSTANT("from_heads");
constexpr uint32_t KV_HEADS = CONSTANT("kv_heads"), GROUP = CONSTANT("group");  // only if FROM_HEADS

// Start to read a row out of heads to L1: 64 bytes for each half row of a tile. If the elements are float32, these are
// the 16 elements of the half row. If they are bfloat16, these are 32 elements, the half rows of two neighbouring rows:
// a read from DRAM cannot be shorter.
template <typename Accessor>
static inline void read_heads(const Accessor& tensor, const heads::Layout& layout, uint32_t row, uint32_t to) {
    for (uint32_t head = 0; head < GROUP * KV_HEADS; ++head) {
        const uint32_t offset = tile::row_offset<ELEMENT_BYTES>(layout.matrix_row(row, head));
        const uint32_t aligned = offset / rows::DRAM_READ * rows::DRAM_READ;
        const uint32_t first = layout.first_tile(row, head);
        for (uint32_t page = first; page < first + layout.columns; ++page) {
            const uint64_t from = tensor.get_noc_addr(page, aligned);
            noc_async_read(from, to, rows::DRAM_READ);
            noc_async_read(from + tile::RIGHT_HALF<ELEMENT_BYTES>, to + rows::DRAM_READ, rows::DRAM_READ);
            to += 2 * rows::DRAM_READ;
        }
    }
}

// Convert the bfloat16 half rows that read_heads left at `from` to float32 elements of the row at `to`. Each 64 bytes
// there hold two half rows: first that of an even matrix row, then that of the odd row after it. A bfloat16 is the
// upper half of a float32.
static inline void widen_heads(const heads::Layout& layout, uint32_t row, uint32_t from, uint32_t to) {
    const rows::Words target = rows::words_at(to);
    for (uint32_t index = 0; index < GROUP * KV_HEADS * layout.columns * 2; ++index) {
        const uint32_t head = index / (2 * layout.columns);
        const uint32_t second = layout.matrix_row(row, head) % 2;
        const rows::Words pairs = rows::words_at(from + index * rows::DRAM_READ);
        for (uint32_t word = 0; word < tile::FACE / 2; ++word) {
            const uint32_t pair = pairs[second * tile::FACE / 2 + word];
            target[index * tile::FACE + 2 * word] = pair << 16;
            target[index * tile::FACE + 2 * word + 1] = pair & 0xFFFF0000;
        }
    }
}

// Start to read the first operand's row to L1.
template <typename Accessor>
static inline void read_first(const Accessor& first, uint32_t row, uint32_t to) {
    if constexpr (!FROM_HEADS) {
        rows::read<4>(first, row / tile::SIDE * FIRST_COLUMNS, WIDTH, tile::row_offset<4>(row), to);
    } else {
        const heads::Layout layout{KV_HEADS, GROUP, ARGUMENT("tokens"), FIRST_COLUMNS};
        if constexpr (ELEMENT_BYTES == 4) {
            read_heads(first, layout, row, to);
        } else {
            const uint32_t raw = get_write_ptr(RAW_HEADS);
            read_heads(first, layout, row, raw);
            noc_async_read_barrier();
            widen_heads(layout, row, raw, to);
        }
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
    const auto first = TENSOR("first", tile::BYTES<ELEMENT_BYTES>);
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
