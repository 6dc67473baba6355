// Make the attention mask [sequences, 1, rows, length] of a step, in tiles: 0 for columns up to a row's position, a
// large negative number for columns beyond it. Row r of a sequence belongs to its token r % tokens.
//
// A work item is one tile of the mask. Most tiles are open (all 0) or closed (all masked): the core makes one of each
// at the start and writes it again and again. The other tiles are made element by element.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t ELEMENT_BYTES = CONSTANT("element_bytes");
constexpr uint32_t MASKED = CONSTANT("masked_word");  // the negative number: one float32 or two bfloat16
constexpr uint32_t TILE_BYTES = tile::BYTES<ELEMENT_BYTES>;

// Fill a tile whose first column is position `first`; `limits` has the position of each row.
static inline void make_mixed_tile(uint32_t address, uint32_t first, const uint32_t* limits) {
    for (uint32_t index = 0; index < tile::ELEMENTS; ++index) {
        const bool masked = first + tile::column_of(index) > limits[tile::row_of(index)];
        const uint32_t word = masked ? MASKED : 0;
        if constexpr (ELEMENT_BYTES == 2) {
            reinterpret_cast<volatile tt_l1_ptr uint16_t*>(address)[index] = word >> 16;
        } else {
            rows::words_at(address)[index] = word;
        }
    }
}

void kernel_main() {
    const uint32_t sequences = ARGUMENT("sequences");
    const uint32_t row_tiles = ARGUMENT("row_tiles");
    const uint32_t columns = ARGUMENT("columns");  // length / 32
    const uint32_t tokens = ARGUMENT("tokens");    // of each sequence
    const uint32_t positions_bytes = ARGUMENT("positions") * 4;
    const auto positions = TENSOR("positions", positions_bytes);
    const auto mask = TENSOR("mask", TILE_BYTES);
    const uint32_t open = get_write_ptr(BUFFER("open")), closed = get_write_ptr(BUFFER("closed"));
    const uint32_t mixed = get_write_ptr(BUFFER("mixed"));
    for (uint32_t word = 0; word < TILE_BYTES / 4; ++word) {
        rows::words_at(open)[word] = 0;
        rows::words_at(closed)[word] = MASKED;
    }
    const uint32_t positions_in_l1 = get_write_ptr(BUFFER("positions"));
    const rows::Words position_of = rows::words_at(positions_in_l1);
    noc_async_read(positions.get_noc_addr(0), positions_in_l1, positions_bytes);
    noc_async_read_barrier();

    for (const uint32_t item : work::Items(sequences * row_tiles * columns)) {
        const uint32_t first = item % columns * tile::SIDE, last = first + tile::SIDE - 1;
        const uint32_t row_tile = item / columns % row_tiles;
        const uint32_t sequence = item / columns / row_tiles;
        uint32_t smallest = 0xFFFFFFFF, largest = 0;
        uint32_t limits[tile::SIDE];
        for (uint32_t row = 0; row < tile::SIDE; ++row) {
            const uint32_t limit = position_of[sequence * tokens + (row_tile * tile::SIDE + row) % tokens];
            smallest = limit < smallest ? limit : smallest;
            largest = limit > largest ? limit : largest;
            limits[row] = limit;
        }
        uint32_t source = closed;
        if (smallest >= last) {
            source = open;
        } else if (largest >= first) {
            source = mixed;
            make_mixed_tile(mixed, first, limits);
        }
        noc_async_write(source, mask.get_noc_addr(item), TILE_BYTES);
        noc_async_write_barrier();
    }
}
