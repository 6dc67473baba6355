// Find the largest logits of each row in every part of the vocabulary. The logits are float32 [1, 1, 32, vocab], tiled.
//
// Core i searches part i and writes page i of the result: `count` candidates for each row, by falling logit, and equal
// logits by rising token id. A part with fewer logits than `count` ends with candidates of no token.
//
// A logit is inserted into the sorted candidates of its row. Few logits get that far: most are smaller than the
// smallest candidate.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/candidate.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t PART_TILES = CONSTANT("part_tiles");      // tiles of a part of the vocabulary
constexpr uint32_t BATCH_TILES = CONSTANT("batch_tiles");    // tiles read at once
constexpr uint32_t ROW_BYTES = 2 * tile::HALF_ROW_BYTES<4>;  // a row of one tile

// Read `tiles` tiles of the first `row_count` rows to L1: row after row, BATCH_TILES * 32 elements apart.
template <typename Accessor>
static inline void read_batch(const Accessor& logits, uint32_t first, uint32_t tiles, uint32_t row_count, uint32_t to) {
    for (uint32_t index = 0; index < tiles; ++index) {
        for (uint32_t row = 0; row < row_count; ++row) {
            const uint32_t target = to + (row * BATCH_TILES + index) * ROW_BYTES;
            rows::read<4>(logits, first + index, 1, tile::row_offset<4>(row), target);
        }
    }
    noc_async_read_barrier();
}

// The candidates of one row, sorted, at most `count`.
struct Largest {
    uint32_t found = 0;
    int32_t smallest = 0;  // the rank of the last candidate

    void offer(Candidates candidates, uint32_t count, uint32_t logit, uint32_t token_id) {
        const int32_t rank = rank_of(logit);
        // Token ids rise, so an equal logit that comes later loses.
        if (found == count && rank <= smallest) {
            return;
        }
        uint32_t place = found < count ? found++ : count - 1;
        for (; place > 0 && rank_of(candidates[place - 1].logit) < rank; --place) {
            candidates[place].logit = candidates[place - 1].logit;
            candidates[place].token_id = candidates[place - 1].token_id;
        }
        candidates[place].logit = logit;
        candidates[place].token_id = token_id;
        smallest = rank_of(candidates[found - 1].logit);
    }
};

void kernel_main() {
    constexpr uint32_t page_bytes = CONSTANT("page_bytes");

    const uint32_t row_count = ARGUMENT("rows"), count = ARGUMENT("count"), vocab_size = ARGUMENT("vocab_size");
    const auto logits = TENSOR("logits", tile::BYTES<4>);
    const auto result = TENSOR("result", page_bytes);
    const uint32_t batch = get_write_ptr(BUFFER("batch")), page = get_write_ptr(BUFFER("page"));

    const uint32_t core = work::core();
    const uint32_t tiles = (vocab_size + tile::SIDE - 1) / tile::SIDE, first = core * PART_TILES;
    if (first >= tiles) {
        return;
    }
    const uint32_t end = first + PART_TILES < tiles ? first + PART_TILES : tiles;
    Largest largest[tile::SIDE];
    for (uint32_t begin = first; begin < end; begin += BATCH_TILES) {
        const uint32_t batch_tiles = begin + BATCH_TILES < end ? BATCH_TILES : end - begin;
        read_batch(logits, begin, batch_tiles, row_count, batch);
        const uint32_t first_id = begin * tile::SIDE;
        // The last tile of the vocabulary may be wider than the vocabulary.
        const uint32_t columns =
            first_id + batch_tiles * tile::SIDE < vocab_size ? batch_tiles * tile::SIDE : vocab_size - first_id;
        for (uint32_t row = 0; row < row_count; ++row) {
            const auto values = rows::words_at(batch + row * BATCH_TILES * ROW_BYTES);
            const Candidates candidates = candidates_at(page + row * count * sizeof(Candidate));
            for (uint32_t column = 0; column < columns; ++column) {
                largest[row].offer(candidates, count, values[column], first_id + column);
            }
        }
    }
    for (uint32_t row = 0; row < row_count; ++row) {
        for (uint32_t place = largest[row].found; place < count; ++place) {
            candidates_at(page)[row * count + place].token_id = CONSTANT("no_token");
        }
    }
    noc_async_write(page, result.get_noc_addr(core), page_bytes);
    noc_async_write_barrier();
}
