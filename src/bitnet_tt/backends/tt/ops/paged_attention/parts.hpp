// How attention is cut into work. The three kernels of paged_attention walk over the same work in the same order.
//
// The positions that a row attends to are cut into parts of 64: 2 blocks of the cache. A part never depends on the
// length of the context, so a row's sums have one order. A pair is a row and a group of query heads which share a KV
// head. Prompts have many pairs: a core takes pairs, and computes all parts of each (`!SPLITS`). A decode step has few:
// there the parts of a pair go to different cores (`SPLITS`), and one core combines their results.
#pragma once

#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/work.hpp"

namespace parts {

constexpr bool SPLITS = CONSTANT("splits");
constexpr uint32_t GROUPS = CONSTANT("groups");  // of a row

constexpr uint32_t BLOCK = 32;               // positions of a block of the cache
constexpr uint32_t BLOCKS = 2;               // of a part
constexpr uint32_t LENGTH = BLOCKS * BLOCK;  // positions of a part

// The parts that a row attends to, if `position` is its own.
inline uint32_t count(uint32_t position) { return position / LENGTH + 1; }

// Call `run(pair, part)` for every part of every pair that this core computes. `position_of(row)` is the position of a
// row, `pairs` the number of pairs, `most` the largest number of parts that a row may have.
template <typename Positions, typename Run>
inline void for_each(uint32_t pairs, uint32_t most, Positions position_of, Run run) {
    if constexpr (SPLITS) {
        // The first parts of all pairs, then the second parts, and so on: rows end early, and their parts with them.
        for (const uint32_t item : work::Items(pairs * most)) {
            const uint32_t pair = item % pairs, part = item / pairs;
            if (part < count(position_of(pair / GROUPS))) {
                run(pair, part);
            }
        }
    } else {
        for (const uint32_t pair : work::Items(pairs)) {
            const uint32_t end = count(position_of(pair / GROUPS));
            for (uint32_t part = 0; part < end; ++part) {
                run(pair, part);
            }
        }
    }
}

}  // namespace parts
