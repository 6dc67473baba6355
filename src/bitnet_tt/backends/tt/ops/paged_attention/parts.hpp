// How attention is cut into work. The three kernels of paged_attention walk over the same work in the same order.
//
// The positions that a row attends to are cut into parts of 64: 2 blocks of the cache. A part never depends on the
// length of the context, so a row's sums have one order. A group is some query heads which share a KV head; a pair is a
// row and a group.
//
// A decode step has few pairs. There the parts of a pair go to different cores, and for each head, one core combines
// their results (`SPLITS`). A prompt has many: a core takes some neighbouring rows of a group, and computes all their
// parts. So it reads the keys and values of a part once for all these rows.
#pragma once

#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/tile.hpp"
#include "../common/work.hpp"

namespace parts {

constexpr bool SPLITS = CONSTANT("splits");
constexpr uint32_t GROUPS = CONSTANT("groups");    // of a row
constexpr uint32_t HEADS = CONSTANT("heads");      // of a group
constexpr uint32_t COLUMNS = CONSTANT("columns");  // tiles of a head
constexpr uint32_t HEAD = COLUMNS * tile::SIDE, HEAD_BYTES = HEAD * 4;

// The result of a part: the sums of values of each head, and then two vectors of statistics of each head.
constexpr uint32_t STATS_BYTES = 2 * 32 * 4, PART_BYTES = HEADS * (HEAD_BYTES + STATS_BYTES);

// A core finishes one head of a row if parts are split over cores, otherwise all heads of a pair.
constexpr uint32_t RESULT_HEADS = SPLITS ? 1 : HEADS;
constexpr uint32_t RESULTS = GROUPS * HEADS / RESULT_HEADS;  // of a row

// Parts of a head that are combined at a time: as many as have their sums in one page, and their statistics in half of
// one.
constexpr uint32_t COMBINED = tile::ELEMENTS / HEAD < 8 ? tile::ELEMENTS / HEAD : 8;

constexpr uint32_t BLOCK = 32;               // positions of a block of the cache
constexpr uint32_t BLOCKS = 2;               // of a part
constexpr uint32_t LENGTH = BLOCKS * BLOCK;  // positions of a part

// The parts that a row attends to, if `position` is its own.
inline uint32_t count(uint32_t position) { return position / LENGTH + 1; }

// Whether a part has the row's own position. It is the row's last part.
inline bool is_own(uint32_t part, uint32_t position) { return part == position / LENGTH; }

// One part of one pair.
struct Task {
    uint32_t row, group, part;
    bool is_first, is_last;  // of the rows that share the keys and values of this part
};

// The work of a step: `rows`, of which `together` neighbours share keys and values; each has at most `most` parts.
struct Work {
    uint32_t rows, together, most;

    // The page of a part, if parts are split over cores, and the core that combines the parts of a head.
    uint32_t page_of(uint32_t row, uint32_t group, uint32_t part) const { return (part * rows + row) * GROUPS + group; }
    static uint32_t core_of(uint32_t row, uint32_t head) { return (row * RESULTS + head) % work::CORES; }

    // Call `run(row, index)` for all that this core finishes: `index` is that of the head, or of the group.
    template <typename Run>
    void for_each_result(Run run) const {
        for (const uint32_t item : work::Items(rows / together * RESULTS)) {
            const uint32_t begin = item / RESULTS * together;
            for (uint32_t row = begin; row < begin + together; ++row) {
                run(row, item % RESULTS);
            }
        }
    }

    // Call `run(task)` for every part that this core computes. `position_of(row)` is the position of a row.
    template <typename Positions, typename Run>
    void for_each_task(Positions position_of, Run run) const {
        if constexpr (SPLITS) {
            // The first parts of all pairs, then the second parts, and so on: rows end early, and their parts with
            // them.
            const uint32_t pairs = rows * GROUPS;
            for (const uint32_t item : work::Items(pairs * most)) {
                const uint32_t row = item % pairs / GROUPS, part = item / pairs;
                if (part < count(position_of(row))) {
                    run(Task{row, item % GROUPS, part, true, true});
                }
            }
        } else {
            for (const uint32_t item : work::Items(rows / together * GROUPS)) {
                // Positions never fall from row to row of a prompt. So the rows that have a part are the last ones.
                uint32_t first = item / GROUPS * together;
                const uint32_t last = first + together - 1, end = count(position_of(last));
                for (uint32_t part = 0; part < end; ++part) {
                    while (part >= count(position_of(first))) {
                        ++first;
                    }
                    for (uint32_t row = first; row <= last; ++row) {
                        run(Task{row, item % GROUPS, part, row == first, row == last});
                    }
                }
            }
        }
    }
};

}  // namespace parts
