// Write the heads that split_heads_compute.cpp computes: q to strips, k and v straight into their cache slots.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t ROTATED = BUFFER("rotated");  // q, k and v of a row

void kernel_main() {
    constexpr uint32_t query_features = CONSTANT("query_features");  // of a row
    constexpr uint32_t width = CONSTANT("width");                    // tiles of k, and of v
    constexpr uint32_t pages = CONSTANT("pages");                    // of a row
    constexpr uint32_t skip = CONSTANT("skip");  // the slot of a row that is not written to the cache

    const auto slots = TENSOR("slots", rows::DRAM_READ);
    const auto q = TENSOR("q", strips::BYTES<1>);
    const auto keys = TENSOR("keys", tile::BYTES<4>);
    const auto values = TENSOR("values", tile::BYTES<4>);
    const uint32_t slot_in_l1 = get_write_ptr(BUFFER("slot"));

    for (const uint32_t row : work::Items(ARGUMENT("rows"))) {
        const uint32_t slot = rows::read_element(slots, row, slot_in_l1);
        cb_wait_front(ROTATED, pages);
        const uint32_t in_l1 = get_read_ptr(ROTATED);
        strips::write_row<1>(q, query_features, row, 0, query_features, in_l1);
        if (slot != skip) {
            const uint32_t first = slot / tile::SIDE * width, offset = tile::row_offset<4>(slot);
            const uint32_t values_in_l1 = rows::write<4>(keys, first, width, offset, in_l1 + query_features * 4);
            rows::write<4>(values, first, width, offset, values_in_l1);
        }
        noc_async_write_barrier();
        cb_pop_front(ROTATED, pages);
    }
}
