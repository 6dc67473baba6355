// Normalise and quantise rows that lie in a circular buffer, in two passes: `measure` finds 1 / rms and then the absmax
// of a normalised row; `finish` normalises and quantises it. One row, or several together (LINES in row_math.hpp).
//
// Norm and quantiser each need a value of the whole row before they can change its first element. So `measure` computes
// the normalised row only to find its absmax; `finish` computes it again and keeps it.
#pragma once

#include <stdint.h>

#include "api/compute/reconfig_data_format.h"
#include "row_math.hpp"

namespace row {

// The row and its buffers. `pages` is the number of pages of the row, of its gain and of its result.
template <uint32_t source_buffer, uint32_t gain_buffer, uint32_t stats_buffer, uint32_t result_buffer, uint32_t pages_,
          bool normalizes_, bool quantizes_>
struct Row {
    static constexpr uint32_t source = source_buffer, gain = gain_buffer, stats = stats_buffer, result = result_buffer;
    static constexpr uint32_t pages = pages_;
    static constexpr bool normalizes = normalizes_, quantizes = quantizes_;
};

// Tiles of Dest, as in row_math.hpp.
constexpr uint32_t X_TILE = 0, Y_TILE = 1, STATS_TILE = 2;

ALWI void store(uint32_t tile, uint32_t buffer) {
    pack_reconfig_data_format(buffer);
    pack_tile(tile, buffer);
}

// Copy a page of the row to Dest, and of the gain if there is a norm.
template <typename R>
ALWI void load(uint32_t page) {
    copy_tile(R::source, page, X_TILE);
    if constexpr (R::normalizes) {
        copy_tile(R::gain, page, Y_TILE);
        ON_VECTORS(spread_gain);
    }
}

// Measure the row, and leave the statistics in Dest.
template <typename R>
ALWI void measure_in_dest() {
    ON_VECTORS(clear_stats);
    if constexpr (R::normalizes) {
        for (uint32_t page = 0; page < R::pages; ++page) {
            copy_tile(R::source, page, X_TILE);
            ON_VECTORS(add_squares);
        }
        ON_VECTORS(add_lanes_of_lines);
        if constexpr (LINES == 1) {
            ON_VECTORS(spread_lines<SUMS>);
        }
        rsqrt_tile_init();
        ON_VECTORS(take_inverse);
    }
    if constexpr (R::quantizes) {
        for (uint32_t page = 0; page < R::pages; ++page) {
            load<R>(page);
            ON_VECTORS(find_largest<R::normalizes>);
        }
        ON_VECTORS(compare_lanes_of_lines);
        if constexpr (LINES == 1) {
            ON_VECTORS(spread_lines<LARGEST>);
        }
        recip_tile_init();
        ON_VECTORS(take_scale);
    }
}

// Measure the row. The statistics go to their buffer, for `finish`, and a copy of them to `copy` if it is not `none`.
constexpr uint32_t none = ~0u;
template <typename R, uint32_t copy = none>
ALWI void measure() {
    tile_regs_acquire();
    measure_in_dest<R>();
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(R::stats, 1);
    store(STATS_TILE, R::stats);
    cb_push_back(R::stats, 1);
    if constexpr (copy != none) {
        cb_reserve_back(copy, 1);
        store(STATS_TILE, copy);
        cb_push_back(copy, 1);
    }
    tile_regs_release();
    cb_wait_front(R::stats, 1);
}

// Normalise and quantise the row.
template <typename R>
ALWI void finish() {
    cb_reserve_back(R::result, R::pages);
    for (uint32_t page = 0; page < R::pages; ++page) {
        tile_regs_acquire();
        load<R>(page);
        copy_tile(R::stats, 0, STATS_TILE);
        if constexpr (R::quantizes) {
            ON_VECTORS(quantize<R::normalizes>);
        } else {
            ON_VECTORS(::normalize<R::normalizes>);
        }
        tile_regs_commit();
        tile_regs_wait();
        store(X_TILE, R::result);
        tile_regs_release();
    }
    cb_push_back(R::result, R::pages);
}

}  // namespace row
