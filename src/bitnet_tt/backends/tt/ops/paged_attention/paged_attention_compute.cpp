// Attention of a row and a group of query heads over a part of the cache, on the vector unit in float32; and the
// combination of a pair's parts. parts.hpp says which core does what.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/work.hpp"
#include "attention_math.hpp"
#include "parts.hpp"

constexpr uint32_t QUERY = BUFFER("query"), OPEN_BUFFER = BUFFER("open"), POSITIONS = BUFFER("positions");
constexpr uint32_t KEYS = BUFFER("keys"), VALUES = BUFFER("values");
// The result of a part. If a pair's parts are split over cores, it goes to another core, and those of this core's own
// pairs come back.
constexpr uint32_t PARTIAL = BUFFER("partial"), RETURNED = parts::SPLITS ? BUFFER("returned") : PARTIAL;
constexpr uint32_t SO_FAR_BUFFER = BUFFER("so_far"), RESULT = BUFFER("result");

namespace {

template <int block>
ALWI void score_block() {
    for (uint32_t column = 0; column < COLUMNS; ++column) {
        copy_tile(KEYS, block * COLUMNS + column, X_TILE);
        ON_VECTORS([=] { add_scores<block>(column); });
    }
}

template <int block>
ALWI void sum_block() {
    for (uint32_t column = 0; column < COLUMNS; ++column) {
        copy_tile(VALUES, block * COLUMNS + column, X_TILE);
        ON_VECTORS([=] { add_values<block>(column); });
    }
}

// Attend to one part. The result is two pages: sums of values, and the maximum and the total of each head's softmax.
// Keys and values stay for the next row if this is not the last one that shares them.
ALWI void attend(bool is_last) {
    constexpr uint32_t tiles = parts::BLOCKS * COLUMNS;
    tile_regs_acquire();
    cb_wait_front(QUERY, 1);
    cb_wait_front(OPEN_BUFFER, 1);
    copy_tile(QUERY, 0, X_TILE);
    copy_tile(OPEN_BUFFER, 0, STATS_TILE);
    ON_VECTORS(scale_queries);
    ON_VECTORS(spread_queries<>);
    ON_VECTORS(mask_scores);
    cb_pop_front(QUERY, 1);
    cb_pop_front(OPEN_BUFFER, 1);
    cb_wait_front(KEYS, tiles);
    score_block<0>();
    score_block<1>();
    ON_VECTORS(soften<>);
    cb_wait_front(VALUES, tiles);
    sum_block<0>();
    sum_block<1>();
    if (is_last) {
        cb_pop_front(KEYS, tiles);
        cb_pop_front(VALUES, tiles);
    }
    ON_VECTORS(add_lines<>);
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(PARTIAL, 2);
    pack_tile(X_TILE, PARTIAL);
    pack_tile(STATS_TILE, PARTIAL);
    cb_push_back(PARTIAL, 2);
    tile_regs_release();
}

// Add a part's result to that of the pair's parts before. After the last part, finish the pair. Rows that share keys
// and values take turns, so the oldest result in the buffer is always that of the row.
ALWI void combine(bool first, bool last) {
    tile_regs_acquire();
    cb_wait_front(RETURNED, 2);
    if (first) {
        copy_tile(RETURNED, 0, SCORES_TILE);
        copy_tile(RETURNED, 1, SCORES_TILE + 1);
    } else {
        copy_tile(RETURNED, 0, X_TILE);
        copy_tile(RETURNED, 1, STATS_TILE);
        cb_wait_front(SO_FAR_BUFFER, 2);
        copy_tile(SO_FAR_BUFFER, 0, SCORES_TILE);
        copy_tile(SO_FAR_BUFFER, 1, SCORES_TILE + 1);
        cb_pop_front(SO_FAR_BUFFER, 2);
        ON_VECTORS(add_part<>);
    }
    cb_pop_front(RETURNED, 2);
    if (last) {
        ON_VECTORS(divide_by_total<>);
    }
    tile_regs_commit();
    tile_regs_wait();
    if (last) {
        cb_reserve_back(RESULT, 1);
        pack_tile(SCORES_TILE, RESULT);
        cb_push_back(RESULT, 1);
    } else {
        cb_reserve_back(SO_FAR_BUFFER, 2);
        pack_tile(SCORES_TILE, SO_FAR_BUFFER);
        pack_tile(SCORES_TILE + 1, SO_FAR_BUFFER);
        cb_push_back(SO_FAR_BUFFER, 2);
    }
    tile_regs_release();
}

}  // namespace

void kernel_main() {
    const parts::Work work{ARGUMENT("rows"), ARGUMENT("together"), ARGUMENT("most_parts")};
    cb_wait_front(POSITIONS, 1);
    const auto position_of = [](uint32_t row) { return read_tile_value(POSITIONS, 0, row); };

    vectors::start(QUERY, RESULT);
    MATH((ckernel::sfpu::sfpu_reciprocal_init<false>()));
    MATH((exponential::start()));
    work.for_each_task(position_of, [&](const parts::Task& task) {
        attend(task.is_last);
        if constexpr (!parts::SPLITS) {
            combine(task.part == 0, task.part == parts::count(position_of(task.row)) - 1);
        }
    });
    if constexpr (parts::SPLITS) {
        work.for_each_pair([&](uint32_t row, uint32_t) {
            const uint32_t end = parts::count(position_of(row));
            for (uint32_t part = 0; part < end; ++part) {
                combine(part == 0, part == end - 1);
            }
        });
    }
}
