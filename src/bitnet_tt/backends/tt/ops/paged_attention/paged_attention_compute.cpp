// Attention of a row and a group of query heads over a part of the cache, on the vector unit in float32; and the
// combination of a pair's parts. parts.hpp says which core does what. If the heads come as the product gives them, they
// are rotated first.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rotate.hpp"
#include "../common/work.hpp"
#include "attention_math.hpp"
#include "parts.hpp"

constexpr bool ROTATES = CONSTANT("rotates");
constexpr uint32_t QUERY = BUFFER("query"), OPEN_BUFFER = BUFFER("open"), POSITIONS = BUFFER("positions");
// The first page of QUERY has the queries of the group, the second one the row's own key, if the part has its position.
constexpr uint32_t QUERY_PAGES = ROTATES ? 2 : 1, QUERY_PAGE = 0, KEY_PAGE = 1;
constexpr uint32_t SWAPPED = BUFFER("swapped"), COSINES = BUFFER("cosines"), SINES = BUFFER("sines");
constexpr uint32_t KEY = BUFFER("key");  // rotated
constexpr uint32_t KEYS = BUFFER("keys"), VALUES = BUFFER("values");
// The result of a part. If parts are split over cores, it goes to other cores, and those of this core's own heads come
// back.
constexpr uint32_t PARTIAL = BUFFER("partial"), RETURNED = BUFFER("returned");
constexpr uint32_t SO_FAR_BUFFER = BUFFER("so_far"), RESULT = BUFFER("result");

namespace {

// Copy some heads to X, rotated. The tiles of the queries are free before a part begins.
template <int heads>
ALWI void copy_rotated(uint32_t page) {
    constexpr uint32_t swapped = QUERIES_TILE, cosines = QUERIES_TILE + 1, sines = QUERIES_TILE + 2;
    copy_tile(QUERY, page, X_TILE);
    copy_tile(SWAPPED, page, swapped);
    copy_tile(COSINES, 0, cosines);
    copy_tile(SINES, 0, sines);
    constexpr int each = vectors::PER_TILE;
    ON_VECTORS(rotate<X, swapped * each, cosines * each, sines * each, heads * COLUMNS, COLUMNS>);
}

// Rotate the row's own key for the reader, which puts it among the keys of the part, and into the cache.
ALWI void rotate_key() {
    tile_regs_acquire();
    copy_rotated<1>(KEY_PAGE);
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(KEY, 1);
    pack_tile(X_TILE, KEY);
    cb_push_back(KEY, 1);
    tile_regs_release();
}

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
ALWI void attend(bool is_own, bool is_last) {
    constexpr uint32_t tiles = parts::BLOCKS * COLUMNS;
    cb_wait_front(QUERY, QUERY_PAGES);
    cb_wait_front(OPEN_BUFFER, 1);
    if constexpr (ROTATES) {
        cb_wait_front(SWAPPED, QUERY_PAGES);
        cb_wait_front(COSINES, 1);
        cb_wait_front(SINES, 1);
        if (is_own) {
            rotate_key();
        }
    }
    tile_regs_acquire();
    if constexpr (ROTATES) {
        copy_rotated<HEADS>(QUERY_PAGE);
        cb_pop_front(SWAPPED, QUERY_PAGES);
        cb_pop_front(COSINES, 1);
        cb_pop_front(SINES, 1);
    } else {
        copy_tile(QUERY, QUERY_PAGE, X_TILE);
    }
    copy_tile(OPEN_BUFFER, 0, STATS_TILE);
    ON_VECTORS(scale_queries);
    ON_VECTORS(spread_queries<>);
    ON_VECTORS(mask_scores);
    cb_pop_front(QUERY, QUERY_PAGES);
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

// Finish the result in Dest.
ALWI void pack_result() {
    ON_VECTORS(divide_by_total<>);
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(RESULT, 1);
    pack_tile(SCORES_TILE, RESULT);
    cb_push_back(RESULT, 1);
    tile_regs_release();
}

// Combine all parts of a head, which come from other cores.
ALWI void combine_head(uint32_t count) {
    tile_regs_acquire();
    for (uint32_t part = 0; part < count; part += parts::COMBINED) {
        cb_wait_front(RETURNED, 2);
        copy_tile(RETURNED, 0, X_TILE);
        copy_tile(RETURNED, 1, STATS_TILE);
        [[maybe_unused]] const uint32_t here = count - part < parts::COMBINED ? count - part : parts::COMBINED;
        ON_VECTORS([=] { add_parts_of_head(part == 0, here); });
        cb_pop_front(RETURNED, 2);
    }
    pack_result();
}

// Add a part's result to that of the pair's parts before. After the last part, finish the pair. Rows that share keys
// and values take turns, so the oldest result in the buffer is always that of the row.
ALWI void combine(bool first, bool last) {
    tile_regs_acquire();
    cb_wait_front(PARTIAL, 2);
    if (first) {
        copy_tile(PARTIAL, 0, SCORES_TILE);
        copy_tile(PARTIAL, 1, SCORES_TILE + 1);
    } else {
        copy_tile(PARTIAL, 0, X_TILE);
        copy_tile(PARTIAL, 1, STATS_TILE);
        cb_wait_front(SO_FAR_BUFFER, 2);
        copy_tile(SO_FAR_BUFFER, 0, SCORES_TILE);
        copy_tile(SO_FAR_BUFFER, 1, SCORES_TILE + 1);
        cb_pop_front(SO_FAR_BUFFER, 2);
        ON_VECTORS(add_part_of_heads<>);
    }
    cb_pop_front(PARTIAL, 2);
    if (last) {
        pack_result();
        return;
    }
    tile_regs_commit();
    tile_regs_wait();
    cb_reserve_back(SO_FAR_BUFFER, 2);
    pack_tile(SCORES_TILE, SO_FAR_BUFFER);
    pack_tile(SCORES_TILE + 1, SO_FAR_BUFFER);
    cb_push_back(SO_FAR_BUFFER, 2);
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
        const bool is_own = parts::is_own(task.part, position_of(task.row));
        attend(is_own, task.is_last);
        if constexpr (!parts::SPLITS) {
            combine(task.part == 0, is_own);
        }
    });
    if constexpr (parts::SPLITS) {
        work.for_each_result([&](uint32_t row, uint32_t) { combine_head(parts::count(position_of(row))); });
    }
}
