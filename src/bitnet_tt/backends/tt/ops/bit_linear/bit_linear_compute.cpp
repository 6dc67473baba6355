// One BitLinear with everything around it, for one row: norm, quantiser, product with ternary weights, scales, and the
// addition or the gate that follows. Each core computes its own columns of the result. Each repeats norm and quantiser
// of the whole row: that takes less time than to wait for another core.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/normalize_row.hpp"
#include "../common/stream.hpp"
#include "../common/ternary.hpp"
#include "epilogue.hpp"

constexpr bool NORMALIZES = CONSTANT("normalizes");
constexpr bool ADDS = CONSTANT("adds"), GATES = CONSTANT("gates"), SILU = CONSTANT("silu");
constexpr bool HAVE_EXPONENTS = CONSTANT("have_exponents");
constexpr uint32_t PAGES = CONSTANT("pages");      // of the row
constexpr uint32_t DEPTH = CONSTANT("depth");      // tiles along the row
constexpr uint32_t COLUMNS = CONSTANT("columns");  // tiles of weights that are computed together
constexpr uint32_t PASSES = CONSTANT("passes");    // how often
constexpr uint32_t RESULTS = GATES ? COLUMNS / 2 : COLUMNS;

constexpr uint32_t ROW = BUFFER("row"), GAIN = BUFFER("gain"), STATS_BUFFER = BUFFER("stats"),
                   WEIGHTS = BUFFER("weights");
constexpr uint32_t INTEGERS = BUFFER("integers"), TILES = BUFFER("tiles");  // the same memory, as pages and as tiles
constexpr uint32_t SCALES = BUFFER("scales"), RESIDUAL = BUFFER("residual"), RESULT = BUFFER("result");

using Row = row::Row<ROW, GAIN, STATS_BUFFER, INTEGERS, PAGES, NORMALIZES, true>;

namespace {

// Compute COLUMNS tiles of the product, and from them RESULTS tiles of the result.
ALWI void compute(uint32_t pass) {
    tile_regs_acquire();
    // The operands of the epilogue, before the unpacker turns to the product.
    copy_tile(STATS_BUFFER, 0, epilogue::STATS_TILE);
    cb_wait_front(SCALES, pass + 1);
    copy_tile(SCALES, pass, epilogue::SCALES_TILE);
    if constexpr (ADDS) {
        cb_wait_front(RESIDUAL, pass + 1);
        copy_tile(RESIDUAL, pass, epilogue::RESIDUAL_TILE);
    }
    ON_VECTORS(epilogue::clear<COLUMNS>);
    ternary::start<HAVE_EXPONENTS>(TILES, WEIGHTS, COLUMNS);
    for (uint32_t k = 0; k < DEPTH; ++k) {
        const uint32_t first = (pass * DEPTH + k) * COLUMNS;
        cb_wait_front(WEIGHTS, first + COLUMNS);
        matmul_block(TILES, WEIGHTS, k, first, 0, false, COLUMNS, 1, 1);
    }
    ternary::stop<HAVE_EXPONENTS>(TILES, ROW);
    if constexpr (GATES) {
        ON_VECTORS(epilogue::scale_gate<RESULTS, !SILU>);
        if constexpr (SILU) {
            silu_tile_init();
            for (uint32_t tile = 0; tile < RESULTS; ++tile) {
                silu_tile(tile);
            }
        }
        ON_VECTORS(epilogue::multiply_by_up<RESULTS>);
    } else {
        ON_VECTORS(epilogue::scale<RESULTS, ADDS>);
    }
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(RESULT, RESULTS);
    for (uint32_t tile = 0; tile < RESULTS; ++tile) {
        pack_tile(tile, RESULT);
    }
    tile_regs_release();
    cb_push_back(RESULT, RESULTS);
}

}  // namespace

void kernel_main() {
    if (stream::mine() == stream::NONE) {
        return;
    }
    vectors::start(ROW, INTEGERS);
    if constexpr (NORMALIZES) {
        cb_wait_front(GAIN, PAGES);
    }
    cb_wait_front(ROW, PAGES);
    row::measure<Row>();
    row::finish<Row>();
    cb_wait_front(INTEGERS, PAGES);
    pack_reconfig_data_format(RESULT);
    pack_init(RESULT);
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        compute(pass);
    }
}
