// Make the input of the next matrix product from a row, on the vector unit in float32, in three passes over the row:
//
// 1. combine: join the operands of the row (residual + product, or activation(gate) * up). Only if there are two.
// 2. measure: find 1 / rms of the source, and then absmax of the normalised row.
// 3. finish: normalise and quantise the row.
//
// Norm and quantiser each need a value of the whole row before they can change its first element. So pass 2 computes
// the normalised row only to find its absmax; pass 3 computes it again and keeps it.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/work.hpp"
#include "api/compute/reconfig_data_format.h"
#include "row_math.hpp"

constexpr bool ADDS = CONSTANT("adds"), GATES = CONSTANT("gates"), SILU = CONSTANT("silu");
constexpr bool NORMALIZES = CONSTANT("normalizes"), QUANTIZES = CONSTANT("quantizes");
constexpr bool COMBINES = ADDS || GATES;
constexpr uint32_t PAGES = CONSTANT("pages");  // of a row

constexpr uint32_t FIRST_BUFFER = BUFFER("first"), SECOND_BUFFER = BUFFER("second"), SCALES_BUFFER = BUFFER("scales");
constexpr uint32_t GAIN_BUFFER = BUFFER("gain"), STATS_BUFFER = BUFFER("stats");
constexpr uint32_t RESULT_BUFFER = BUFFER("result"), SUM_BUFFER = BUFFER("sum"), LARGEST_BUFFER = BUFFER("largest");
// The source of norm and quantiser: the combined operands, or the only operand there is.
constexpr uint32_t SOURCE_BUFFER = COMBINES ? BUFFER("combined") : FIRST_BUFFER;

// Tiles of Dest, as in row_math.hpp.
constexpr uint32_t X_TILE = 0, Y_TILE = 1, STATS_TILE = 2;

namespace {

ALWI void store(uint32_t tile, uint32_t buffer) {
    pack_reconfig_data_format(buffer);
    pack_tile(tile, buffer);
}

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

// Copy a page of the source to Dest, and of the gain if there is a norm.
ALWI void load_source(uint32_t page) {
    copy_tile(SOURCE_BUFFER, page, X_TILE);
    if constexpr (NORMALIZES) {
        copy_tile(GAIN_BUFFER, page, Y_TILE);
    }
}

// Measure the row. The statistics go to a buffer, for pass 3, and a copy of them to the writer, which needs absmax.
ALWI void measure() {
    tile_regs_acquire();
    ON_VECTORS(clear_stats);
    if constexpr (NORMALIZES) {
        ON_VECTORS(clear_sum);
        for (uint32_t page = 0; page < PAGES; ++page) {
            copy_tile(SOURCE_BUFFER, page, X_TILE);
            ON_VECTORS(add_squares);
        }
        ON_VECTORS(add_lanes_of_lines);
        ON_VECTORS(spread_lines<INVERSE>);
        rsqrt_tile_init();
        ON_VECTORS(take_inverse);
    }
    if constexpr (QUANTIZES) {
        for (uint32_t page = 0; page < PAGES; ++page) {
            load_source(page);
            ON_VECTORS(normalize<NORMALIZES>);
            ON_VECTORS(find_largest);
        }
        ON_VECTORS(compare_lanes_of_lines);
        ON_VECTORS(spread_lines<LARGEST>);
        recip_tile_init();
        ON_VECTORS(take_scale);
    }
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(STATS_BUFFER, 1);
    store(STATS_TILE, STATS_BUFFER);
    cb_push_back(STATS_BUFFER, 1);
    if constexpr (QUANTIZES) {
        cb_reserve_back(LARGEST_BUFFER, 1);
        store(STATS_TILE, LARGEST_BUFFER);
        cb_push_back(LARGEST_BUFFER, 1);
    }
    tile_regs_release();
}

// Normalise and quantise the row.
ALWI void finish() {
    cb_wait_front(STATS_BUFFER, 1);
    cb_reserve_back(RESULT_BUFFER, PAGES);
    for (uint32_t page = 0; page < PAGES; ++page) {
        tile_regs_acquire();
        load_source(page);
        copy_tile(STATS_BUFFER, 0, STATS_TILE);
        ON_VECTORS(normalize<NORMALIZES>);
        if constexpr (QUANTIZES) {
            ON_VECTORS(quantize);
        }
        tile_regs_commit();
        tile_regs_wait();
        store(X_TILE, RESULT_BUFFER);
        tile_regs_release();
    }
    cb_push_back(RESULT_BUFFER, PAGES);
    cb_pop_front(STATS_BUFFER, 1);
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
        measure();
        finish();
        cb_pop_front(SOURCE_BUFFER, PAGES);
    }
}
