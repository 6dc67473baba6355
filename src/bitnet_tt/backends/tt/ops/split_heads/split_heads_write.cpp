// Write the heads that split_heads_compute.cpp computes: q into the layout of heads.hpp, k and v straight into their
// cache slots. The result buffer holds one row: q, k and v, one after another.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/heads.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t RESULT = BUFFER("result");

void kernel_main() {
    constexpr uint32_t element_bytes = CONSTANT("element_bytes");
    constexpr uint32_t kv_heads = CONSTANT("kv_heads"), group = CONSTANT("group");
    constexpr uint32_t columns = CONSTANT("columns");  // tiles of a head
    constexpr uint32_t pages = CONSTANT("pages");      // of a row
    constexpr uint32_t skip = CONSTANT("skip");        // the slot of a row that is not written to the cache
    constexpr uint32_t tile_bytes = tile::BYTES<element_bytes>;

    const auto slots = TENSOR("slots", rows::DRAM_READ);
    const auto q = TENSOR("q", tile_bytes);
    const auto keys = TENSOR("keys", tile_bytes);
    const auto values = TENSOR("values", tile_bytes);
    const heads::Layout layout{kv_heads, group, ARGUMENT("tokens"), columns};
    const uint32_t slot_in_l1 = get_write_ptr(BUFFER("slot"));

    for (const uint32_t row : work::Items(ARGUMENT("rows"))) {
        const uint32_t slot = rows::read_element(slots, row, slot_in_l1);
        cb_wait_front(RESULT, pages);
        uint32_t from = get_read_ptr(RESULT);
        for (uint32_t head = 0; head < kv_heads * group; ++head) {
            const uint32_t offset = tile::row_offset<element_bytes>(layout.matrix_row(row, head));
            from = rows::write<element_bytes>(q, layout.first_tile(row, head), columns, offset, from);
        }
        if (slot != skip) {
            const uint32_t block = slot / tile::SIDE * kv_heads * columns;
            const uint32_t offset = tile::row_offset<element_bytes>(slot);
            from = rows::write<element_bytes>(keys, block, kv_heads * columns, offset, from);
            rows::write<element_bytes>(values, block, kv_heads * columns, offset, from);
        }
        noc_async_write_barrier();
        cb_pop_front(RESULT, pages);
    }
}
