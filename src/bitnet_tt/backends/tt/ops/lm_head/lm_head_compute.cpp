// The final norm and the product with the lm_head. Each core computes its own part of the vocabulary. With rows in
// strips, each repeats the norm of all rows; otherwise they come normalised.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/normalize_row.hpp"
#include "../common/stream.hpp"
#include "api/compute/compute_kernel_hw_startup.h"
#include "api/compute/matmul.h"

constexpr bool NORMALIZES = CONSTANT("normalizes");
constexpr uint32_t PAGES = CONSTANT("pages");      // of rows in strips
constexpr uint32_t DEPTH = CONSTANT("depth");      // tiles along a row
constexpr uint32_t COLUMNS = CONSTANT("columns");  // tiles of logits that are computed together
constexpr uint32_t PASSES = CONSTANT("passes");    // how often

constexpr uint32_t ROW = BUFFER("row"), GAIN = BUFFER("gain"), STATS_BUFFER = BUFFER("stats");
constexpr uint32_t NORMALIZED = BUFFER("normalized"), TILES = BUFFER("tiles");  // the same memory, pages and tiles
constexpr uint32_t WEIGHTS = BUFFER("weights"), RESULT = BUFFER("result");

using Row = row::Row<ROW, GAIN, STATS_BUFFER, NORMALIZED, PAGES, NORMALIZES, false>;

namespace {

// Bring the rows into the buffer of tiles, and prepare the product.
ALWI void prepare() {
    if constexpr (NORMALIZES) {
        vectors::start(ROW, NORMALIZED);
        cb_wait_front(GAIN, PAGES);
        cb_wait_front(ROW, PAGES);
        row::measure<Row>();
        row::finish<Row>();
        cb_wait_front(NORMALIZED, PAGES);
        reconfig_full_operand(WEIGHTS, TILES);
        pack_reconfig_data_format(RESULT);
        pack_init(RESULT);
    } else {
        compute_kernel_hw_startup(WEIGHTS, TILES, RESULT);
        cb_wait_front(TILES, DEPTH);
    }
    matmul_block_init(TILES, WEIGHTS, 0, COLUMNS, 1, 1);
}

}  // namespace

void kernel_main() {
    if (stream::mine() == stream::NONE) {
        return;
    }
    prepare();
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        tile_regs_acquire();
        for (uint32_t k = 0; k < DEPTH; ++k) {
            cb_wait_front(WEIGHTS, COLUMNS);
            matmul_block(TILES, WEIGHTS, k, 0, 0, false, COLUMNS, 1, 1);
            cb_pop_front(WEIGHTS, COLUMNS);
        }
        tile_regs_commit();
        tile_regs_wait();
        cb_reserve_back(RESULT, COLUMNS);
        for (uint32_t tile = 0; tile < COLUMNS; ++tile) {
            pack_tile(tile, RESULT);
        }
        cb_push_back(RESULT, COLUMNS);
        tile_regs_release();
    }
}
