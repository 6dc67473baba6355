// Read rows of the product of q, k and v for split_heads_compute.cpp. A work item is one row. The core gets it as pages
// of 1024 consecutive elements: the row, the row with the halves of each head swapped, and the cosines and signed sines
// of its position, element by element.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t ROW = BUFFER("row"), SWAPPED = BUFFER("swapped"), SCALES = BUFFER("scales");
constexpr uint32_t FACTOR = BUFFER("factor"), COSINES = BUFFER("cosines"), SINES = BUFFER("sines");

constexpr uint32_t PAGES = CONSTANT("pages");          // of a row
constexpr uint32_t WIDTH = CONSTANT("width");          // tiles of a row
constexpr uint32_t HEADS = CONSTANT("rotated_heads");  // of q and k, which come first
constexpr uint32_t HEAD_BYTES = CONSTANT("head_dim") * 4;
constexpr uint32_t ROTATED = HEADS * CONSTANT("head_dim");  // elements

// Fill the parts of the buffers that are the same for all rows. v is not rotated: its cosines are 1, its sines 0, and
// its swapped halves only have to be finite. Each buffer holds one row. Every row overwrites the same elements, so the
// parts filled here stay.
static inline void fill_constant_parts() {
    rows::fill(ROW, WIDTH * tile::SIDE, PAGES, 0);
    rows::fill(SWAPPED, ROTATED, PAGES, 0);
    rows::fill(COSINES, ROTATED, PAGES, rows::FLOAT_ONE);
    rows::fill(SINES, ROTATED, PAGES, 0);
}

// Fill the page of the row's own factor. 64 equal elements fill all lanes of the first two vectors
// (common/vectors.hpp); split_heads_compute.cpp uses the first.
template <typename Accessor>
static inline void fill_factor(const Accessor& largest, uint32_t row, uint32_t to) {
    uint32_t factor = rows::FLOAT_ONE;
    if constexpr (HAS_TENSOR("largest")) {
        factor = rows::read_row_value(largest, row, to);
    }
    for (uint32_t index = 0; index < 64; ++index) {
        rows::words_at(to)[index] = factor;
    }
}

void kernel_main() {
    const auto product = TENSOR("product", tile::BYTES<4>);
    const auto largest = TENSOR("largest", tile::BYTES<4>);
    const auto scales = TENSOR("scales", PAGES * rows::PAGE * 4);
    const auto cosines = TENSOR("cosines", HEAD_BYTES);
    const auto sines = TENSOR("sines", HEAD_BYTES);
    const auto positions = TENSOR("positions", rows::DRAM_READ);

    const work::Items items(ARGUMENT("rows"));
    if (items.empty()) {
        return;
    }
    fill_constant_parts();
    cb_reserve_back(SCALES, PAGES);
    noc_async_read(scales.get_noc_addr(0), get_write_ptr(SCALES), PAGES * rows::PAGE * 4);
    noc_async_read_barrier();
    cb_push_back(SCALES, PAGES);

    for (const uint32_t row : items) {
        const uint32_t position = rows::read_element(positions, row, get_write_ptr(BUFFER("element")));
        cb_reserve_back(FACTOR, 1);
        fill_factor(largest, row, get_write_ptr(FACTOR));
        cb_push_back(FACTOR, 1);
        cb_reserve_back(ROW, PAGES);
        cb_reserve_back(SWAPPED, PAGES);
        cb_reserve_back(COSINES, PAGES);
        cb_reserve_back(SINES, PAGES);
        const uint32_t row_in_l1 = get_write_ptr(ROW);
        rows::read<4>(product, row / tile::SIDE * WIDTH, WIDTH, tile::row_offset<4>(row), row_in_l1);
        const uint64_t cosine_row = cosines.get_noc_addr(position), sine_row = sines.get_noc_addr(position);
        for (uint32_t head = 0; head < HEADS; ++head) {
            noc_async_read(cosine_row, get_write_ptr(COSINES) + head * HEAD_BYTES, HEAD_BYTES);
            noc_async_read(sine_row, get_write_ptr(SINES) + head * HEAD_BYTES, HEAD_BYTES);
        }
        noc_async_read_barrier();
        rows::swap_halves<HEAD_BYTES>(row_in_l1, get_write_ptr(SWAPPED), HEADS);
        noc_async_read_barrier();
        cb_push_back(ROW, PAGES);
        cb_push_back(SWAPPED, PAGES);
        cb_push_back(COSINES, PAGES);
        cb_push_back(SINES, PAGES);
    }
}
