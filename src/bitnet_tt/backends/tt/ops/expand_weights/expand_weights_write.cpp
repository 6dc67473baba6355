// Make the identity tile for expand_weights_compute.cpp, and write the tiles of a core's stream to their places in the
// matrix [in, out].
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/stream.hpp"
#include "../common/tile.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t IDENTITY = BUFFER("identity"), RESULT = BUFFER("result");
constexpr uint32_t DEPTH = CONSTANT("depth"), COLUMNS = CONSTANT("columns"), PASSES = CONSTANT("passes");
constexpr uint32_t RESULTS = CONSTANT("results");  // columns of gate, if there is one; otherwise all
constexpr uint32_t WIDTH = CONSTANT("width");      // tiles of a row of gate, if there is one; otherwise of a row
constexpr uint32_t TILE_BYTES = 576;               // bfp4

static inline void make_identity() {
    constexpr uint32_t one = 0x3F80;  // bfloat16
    cb_reserve_back(IDENTITY, 1);
    const rows::Words words = rows::words_at(get_write_ptr(IDENTITY));
    for (uint32_t index = 0; index < tile::ELEMENTS; index += 2) {
        const uint32_t row = tile::row_of(index), column = tile::column_of(index);
        words[index / 2] = row == column ? one : row == column + 1 ? one << 16 : 0;
    }
    cb_push_back(IDENTITY, 1);
}

void kernel_main() {
    const auto result = TENSOR("result", TILE_BYTES);
    if (stream::mine() == stream::NONE) {
        return;
    }
    make_identity();
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        const uint32_t first = (stream::mine() * PASSES + pass) * RESULTS;
        for (uint32_t k = 0; k < DEPTH; ++k) {
            cb_wait_front(RESULT, COLUMNS);
            uint32_t from = get_read_ptr(RESULT);
            for (uint32_t index = 0; index < COLUMNS; ++index) {
                const uint32_t column = first + index % RESULTS;
                if (column < WIDTH) {
                    // The rows of the matrix are as long as all its columns; up lies behind gate.
                    const uint32_t page = k * WIDTH * (COLUMNS / RESULTS) + index / RESULTS * WIDTH + column;
                    noc_async_write(from, result.get_noc_addr(page), TILE_BYTES);
                }
                from += TILE_BYTES;
            }
            noc_async_write_barrier();
            cb_pop_front(RESULT, COLUMNS);
        }
    }
}
