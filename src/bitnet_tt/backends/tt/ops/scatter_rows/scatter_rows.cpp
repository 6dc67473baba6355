// Write the rows of a tiled tensor [1, heads, rows, head_dim] into slots of a paged cache [blocks, heads, 32,
// head_dim].
//
// A work item is one tile of the source. A row of it goes straight into its slot, 16 elements at a time, so no row
// beside the slot is read or changed, and two cores never write the same bytes.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

void kernel_main() {
    constexpr uint32_t heads = CONSTANT("heads");
    constexpr uint32_t columns = CONSTANT("columns");  // head_dim / 32
    constexpr uint32_t element_bytes = CONSTANT("element_bytes");
    constexpr uint32_t skip = CONSTANT("skip");  // the slot of a row that is not written
    constexpr uint32_t tile_bytes = tile::BYTES<element_bytes>, half = tile::HALF_ROW_BYTES<element_bytes>;
    constexpr uint32_t right_half = tile::RIGHT_HALF<element_bytes>;

    const uint32_t row_tiles = ARGUMENT("row_tiles");
    const auto source = TENSOR("source", tile_bytes);
    const auto slots = TENSOR("slots", row_tiles * tile::SIDE * 4);
    const auto cache = TENSOR("cache", tile_bytes);
    const uint32_t rows_in_l1 = get_write_ptr(BUFFER("tile")), slots_in_l1 = get_write_ptr(BUFFER("slots"));
    const rows::Words slot_of = rows::words_at(slots_in_l1);

    for (const uint32_t item : work::Items(heads * row_tiles * columns)) {
        const uint32_t column = item % columns;
        const uint32_t row_tile = item / columns % row_tiles;
        const uint32_t head = item / columns / row_tiles;
        noc_async_read(slots.get_noc_addr(0, row_tile * tile::SIDE * 4), slots_in_l1, tile::SIDE * 4);
        noc_async_read(source.get_noc_addr(item), rows_in_l1, tile_bytes);
        noc_async_read_barrier();
        for (uint32_t row = 0; row < tile::SIDE; ++row) {
            const uint32_t slot = slot_of[row];
            if (slot == skip) {
                continue;
            }
            const uint32_t page = (slot / tile::SIDE * heads + head) * columns + column;
            const uint32_t from = rows_in_l1 + tile::row_offset<element_bytes>(row);
            const uint32_t to = tile::row_offset<element_bytes>(slot);
            noc_async_write(from, cache.get_noc_addr(page, to), half);
            noc_async_write(from + right_half, cache.get_noc_addr(page, to + right_half), half);
        }
        noc_async_write_barrier();
    }
}
