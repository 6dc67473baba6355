// Write the heads that split_heads_compute.cpp computes: q to strips, k and v straight into their cache slots.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

// Each buffer holds some pages of one row: QUERIES those that have q, CACHED those that have k or v.
constexpr uint32_t QUERIES = BUFFER("queries"), CACHED = BUFFER("cached");

void kernel_main() {
    constexpr uint32_t element_bytes = CONSTANT("element_bytes");    // of the cache
    constexpr uint32_t query_features = CONSTANT("query_features");  // of a row
    constexpr uint32_t width = CONSTANT("width");                    // tiles of k, and of v
    constexpr uint32_t query_pages = CONSTANT("query_pages");
    constexpr uint32_t first_cached = CONSTANT("first_cached"), cached_pages = CONSTANT("pages") - first_cached;
    constexpr uint32_t skip = CONSTANT("skip");  // the slot of a row that is not written to the cache

    const auto slots = TENSOR("slots", rows::DRAM_READ);
    const auto q = TENSOR("q", strips::BYTES<1>);
    const auto keys = TENSOR("keys", tile::BYTES<element_bytes>);
    const auto values = TENSOR("values", tile::BYTES<element_bytes>);
    const uint32_t slot_in_l1 = get_write_ptr(BUFFER("slot"));

    for (const uint32_t row : work::Items(ARGUMENT("rows"))) {
        const uint32_t slot = rows::read_element(slots, row, slot_in_l1);
        cb_wait_front(QUERIES, query_pages);
        strips::write_row<1>(q, query_features, row, 0, query_features, get_read_ptr(QUERIES));
        cb_wait_front(CACHED, cached_pages);
        if (slot != skip) {
            uint32_t from = get_read_ptr(CACHED) + (query_features - first_cached * rows::PAGE) * element_bytes;
            const uint32_t first = slot / tile::SIDE * width, offset = tile::row_offset<element_bytes>(slot);
            from = rows::write<element_bytes>(keys, first, width, offset, from);
            rows::write<element_bytes>(values, first, width, offset, from);
        }
        noc_async_write_barrier();
        cb_pop_front(QUERIES, query_pages);
        cb_pop_front(CACHED, cached_pages);
    }
}
