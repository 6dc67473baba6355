// Make the input of the next matrix product from a row, on the vector unit in float32, in three passes over the row:
//
// 1. combine: join the operands of the row (residual + product, or activation(gate) * up). Only if there are two.
// 2. and 3. measure and finish: see common/normalize_row.hpp. They copy absmax to the writer.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/normalize_row.hpp"
#include "../common/work.hpp"
#include "combine.hpp"

constexpr bool ADDS = CONSTANT("adds"), GATES = CONSTANT("gates"), SILU = CONSTANT("silu");
constexpr bool NORMALIZES = CONSTANT("normalizes"), QUANTIZES = CONSTANT("quantizes");
constexpr bool COMBINES = ADDS || GATES;
constexpr uint32_t PAGES = CONSTANT("pages");  // of a row

constexpr uint32_t FIRST_BUFFER = BUFFER("first"), SECOND_BUFFER = BUFFER("second"), SCALES_BUFFER = BUFFER("scales");
constexpr uint32_t GAIN_BUFFER = BUFFER("gain"), STATS_BUFFER = BUFFER("stats");
constexpr uint32_t RESULT_BUFFER = BUFFER("result"), SUM_BUFFER = BUFFER("sum"), LARGEST_BUFFER = BUFFER("largest");
// The source of norm and quantiser: the combined operands, or the only operand there is.
constexpr uint32_t SOURCE_BUFFER = COMBINES ? BUFFER("combined") : FIRST_BUFFER;

using Row = row::Row<SOURCE_BUFFER, GAIN_BUFFER, STATS_BUFFER, RESULT_BUFFER, PAGES, NORMALIZES, QUANTIZES>;

namespace {

using row::STATS_TILE, row::store, row::X_TILE, row::Y_TILE;

// Combine the operands of one page.
ALWI void combine_page(uint32_t page) {
    tile_regs_acquire();
    copy_tile(FIRST_BUFFER, page, X_TILE);
    copy_tile(SECOND_BUFFER, page, Y_TILE);
    copy_tile(SCALES_BUFFER, 0, STATS_TILE);
    if constexpr (ADDS) {
        ON_VECTORS(add_scaled);
    } else {
        ON_VECTORS(scale_gate<!SILU>);
        if constexpr (SILU) {
            silu_tile_init();
            silu_tile(X_TILE);
        }
        ON_VECTORS(multiply_by_up);
    }
    tile_regs_commit();
    tile_regs_wait();
    store(X_TILE, SOURCE_BUFFER);
    if constexpr (ADDS) {
        store(X_TILE, SUM_BUFFER);  // for the writer: the residual stream goes on with it
    }
    tile_regs_release();
}

ALWI void combine() {
    cb_wait_front(SECOND_BUFFER, PAGES);
    cb_wait_front(SCALES_BUFFER, 1);
    cb_reserve_back(SOURCE_BUFFER, PAGES);
    if constexpr (ADDS) {
        cb_reserve_back(SUM_BUFFER, PAGES);
    }
    for (uint32_t page = 0; page < PAGES; ++page) {
        combine_page(page);
    }
    cb_push_back(SOURCE_BUFFER, PAGES);
    if constexpr (ADDS) {
        cb_push_back(SUM_BUFFER, PAGES);
    }
    cb_pop_front(FIRST_BUFFER, PAGES);
    cb_pop_front(SECOND_BUFFER, PAGES);
    cb_pop_front(SCALES_BUFFER, 1);
    cb_wait_front(SOURCE_BUFFER, PAGES);
}

}  // namespace

void kernel_main() {
    const work::Items items(ARGUMENT("rows"));
    if (items.empty()) {
        return;
    }
    vectors::start(FIRST_BUFFER, RESULT_BUFFER);
    if constexpr (NORMALIZES) {
        cb_wait_front(GAIN_BUFFER, PAGES);  // stays for all rows
    }
    for ([[maybe_unused]] const uint32_t row : items) {
        cb_wait_front(FIRST_BUFFER, PAGES);
        if constexpr (COMBINES) {
            combine();
        }
        row::measure<Row, QUANTIZES ? LARGEST_BUFFER : row::none>();
        row::finish<Row>();
        cb_pop_front(STATS_BUFFER, 1);
        cb_pop_front(SOURCE_BUFFER, PAGES);
    }
}
