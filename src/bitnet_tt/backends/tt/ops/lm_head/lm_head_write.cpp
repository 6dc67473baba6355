// Bring the rows and the norm's gain to a core. Write the logits that it computes, find the largest of them, or both.
//
// Core i has part i of the vocabulary. It writes page i of `top`: TOP_COUNT candidates for each row. A part with fewer
// logits than that ends with candidates of no token.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/stream.hpp"
#include "../common/strips.hpp"
#include "api/dataflow/dataflow_api.h"
#include "largest.hpp"

constexpr bool NORMALIZES = CONSTANT("normalizes");
constexpr uint32_t LINES = CONSTANT("lines");          // rows that share a strip
constexpr uint32_t TILE_ROWS = CONSTANT("tile_rows");  // rows of a tile of logits
constexpr uint32_t X_TILE_BYTES = CONSTANT("x_tile_bytes");
constexpr uint32_t DEPTH = CONSTANT("depth"), PAGES = CONSTANT("pages"), FEATURES = DEPTH * tile::SIDE;
constexpr uint32_t GAIN_BYTES = (FEATURES + rows::PAGE - 1) / rows::PAGE * rows::PAGE * 4;
constexpr uint32_t COLUMNS = CONSTANT("columns"), PASSES = CONSTANT("passes");
constexpr uint32_t ROWS = CONSTANT("rows"), TOP_COUNT = CONSTANT("count");
constexpr uint32_t ROW_BYTES = CONSTANT("row_bytes"), TOP_BYTES = CONSTANT("top_bytes");  // pages of the results
constexpr uint32_t VOCAB_SIZE = CONSTANT("vocab_size");                                   // columns of logits

constexpr uint32_t ROW = BUFFER("row"), GAIN = BUFFER("gain"), TILES = BUFFER("tiles"), RESULT = BUFFER("result");

// A tile of logits with fewer than 16 rows has faces of as many rows.
constexpr uint32_t RUN_BYTES = tile::HALF_ROW_BYTES<4>;
constexpr uint32_t RIGHT_HALF = (TILE_ROWS < tile::FACE ? TILE_ROWS : tile::FACE) * RUN_BYTES;

static inline void read_strips() {
    const auto x = TENSOR("x", strips::BYTES<LINES>);
    const auto gain = TENSOR("gain", GAIN_BYTES);
    cb_reserve_back(ROW, PAGES);
    cb_reserve_back(GAIN, PAGES);
    strips::read<LINES>(x, 0, FEATURES, get_write_ptr(ROW));
    noc_async_read(gain.get_noc_addr(0), get_write_ptr(GAIN), GAIN_BYTES);
    rows::fill(ROW, FEATURES * LINES, PAGES, 0);
    noc_async_read_barrier();
    cb_push_back(ROW, PAGES);
    cb_push_back(GAIN, PAGES);
}

static inline void read_tiles() {
    const auto x = TENSOR("x", X_TILE_BYTES);
    cb_reserve_back(TILES, DEPTH);
    for (uint32_t tile = 0; tile < DEPTH; ++tile) {
        noc_async_read(x.get_noc_addr(tile), get_write_ptr(TILES) + tile * X_TILE_BYTES, X_TILE_BYTES);
    }
    noc_async_read_barrier();
    cb_push_back(TILES, DEPTH);
}

void kernel_main() {
    const auto logits = TENSOR("logits", ROW_BYTES);
    const auto top = TENSOR("top", TOP_BYTES);
    const uint32_t part = stream::mine();
    if (part == stream::NONE) {
        return;
    }
    if constexpr (NORMALIZES) {
        read_strips();
    } else {
        read_tiles();
    }
    const uint32_t candidates = get_write_ptr(BUFFER("candidates"));
    constexpr uint32_t candidate_bytes = TOP_COUNT * sizeof(Candidate);
    largest::Row<TOP_COUNT> largest_of_row[ROWS];
    const uint32_t first_token = ARGUMENT("first_token");  // of the first column
    uint32_t column = part * PASSES * COLUMNS * tile::SIDE;
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        cb_wait_front(RESULT, COLUMNS);
        uint32_t from = get_read_ptr(RESULT);
        for (uint32_t half = 0; half < 2 * COLUMNS; ++half, column += tile::FACE) {
            const uint32_t left = column < VOCAB_SIZE ? VOCAB_SIZE - column : 0;
            for (uint32_t row = 0; row < ROWS; ++row) {
                const uint32_t run =
                    from + half / 2 * TILE_ROWS * 2 * RUN_BYTES + half % 2 * RIGHT_HALF + tile::row_offset<4>(row);
                if constexpr (HAS_TENSOR("logits")) {
                    noc_async_write(run, logits.get_noc_addr(row, column * 4), RUN_BYTES);
                }
                if constexpr (HAS_TENSOR("top")) {
                    largest_of_row[row].offer(candidates_at(candidates + row * candidate_bytes), rows::words_at(run),
                                              left < tile::FACE ? left : tile::FACE, first_token + column);
                }
            }
        }
        noc_async_write_barrier();
        cb_pop_front(RESULT, COLUMNS);
    }
    if constexpr (HAS_TENSOR("top")) {
        for (uint32_t row = 0; row < ROWS; ++row) {
            largest_of_row[row].finish(candidates_at(candidates + row * candidate_bytes), CONSTANT("no_token"));
        }
        noc_async_write(candidates, top.get_noc_addr(part), TOP_BYTES);
        noc_async_write_barrier();
    }
}
