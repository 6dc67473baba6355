// Read queries, keys and values for paged_attention_compute.cpp, straight from the blocks of the cache. If the parts of
// a pair are split over cores, read their results back in the order of the parts.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "api/dataflow/dataflow_api.h"
#include "parts.hpp"

constexpr uint32_t QUERY = BUFFER("query"), OPEN = BUFFER("open"), KEYS = BUFFER("keys"), VALUES = BUFFER("values");
constexpr uint32_t POSITIONS = BUFFER("positions"), RETURNED = BUFFER("returned");

constexpr uint32_t FEATURES = CONSTANT("features");              // of a row of queries
constexpr uint32_t GROUP_FEATURES = CONSTANT("group_features");  // of a group of query heads
constexpr uint32_t GROUPS_EACH = CONSTANT("groups_each");        // groups that share a KV head
constexpr uint32_t KV_HEADS = CONSTANT("kv_heads");
constexpr uint32_t COLUMNS = CONSTANT("columns");  // tiles of a head
constexpr uint32_t STATS_BYTES = CONSTANT("stats_bytes");

// The float 2^23 + n has the bits OFFSET_BITS + n. attention_math.hpp subtracts 2^23 + 64.
constexpr uint32_t OFFSET_BITS = 0x4B000000 + parts::LENGTH;

// Fill the vectors of a page that attention_math.hpp names OPEN, low_lanes and high_lanes. Two neighbouring vectors are
// the even and the odd ones of 64 elements (common/vectors.hpp).
constexpr uint32_t OPEN_BEGIN = 4 * 64, LANES_BEGIN = 5 * 64, LANE_BITS = 3;

static inline void fill_open(uint32_t open, uint32_t to) {
    for (uint32_t index = 0; index < 64; ++index) {
        rows::words_at(to)[OPEN_BEGIN + index] = OFFSET_BITS + open - index / tile::FACE;
    }
}

static inline void fill_lanes(uint32_t to) {
    for (uint32_t bit = 0; bit < LANE_BITS; ++bit) {
        for (uint32_t index = 0; index < 64; ++index) {
            const bool is_high = index / 2 >> bit & 1, wants_high = index & 1;
            rows::words_at(to)[LANES_BEGIN + 64 * bit + index] = is_high == wants_high ? rows::FLOAT_ONE : 0;
        }
    }
}

// Start to read the tiles of a KV head from the blocks of a part.
template <typename Accessor>
static inline void read_blocks(const Accessor& cache, rows::Words blocks, uint32_t kv_head, uint32_t buffer) {
    cb_reserve_back(buffer, parts::BLOCKS * COLUMNS);
    uint32_t to = get_write_ptr(buffer);
    for (uint32_t block = 0; block < parts::BLOCKS; ++block) {
        const uint32_t first = (blocks[block] * KV_HEADS + kv_head) * COLUMNS;
        for (uint32_t page = first; page < first + COLUMNS; ++page) {
            noc_async_read(cache.get_noc_addr(page), to, tile::BYTES<4>);
            to += tile::BYTES<4>;
        }
    }
}

void kernel_main() {
    const auto q = TENSOR("q", strips::BYTES<1>);
    const auto keys = TENSOR("keys", tile::BYTES<4>);
    const auto values = TENSOR("values", tile::BYTES<4>);
    const auto positions = TENSOR("positions", ARGUMENT("positions") * 4);
    const auto table = TENSOR("table", ARGUMENT("table_columns") * 4);
    const auto results = TENSOR("results", GROUP_FEATURES * 4 + STATS_BYTES);
    const uint32_t tokens = ARGUMENT("tokens");  // of a sequence
    const parts::Work work{ARGUMENT("rows"), ARGUMENT("together"), ARGUMENT("most_parts")};

    cb_reserve_back(POSITIONS, 1);
    const rows::Words positions_in_l1 = rows::words_at(get_write_ptr(POSITIONS));
    noc_async_read(positions.get_noc_addr(0), get_write_ptr(POSITIONS), ARGUMENT("positions") * 4);
    noc_async_read_barrier();
    cb_push_back(POSITIONS, 1);  // stay for all kernels
    const auto position_of = [=](uint32_t row) { return positions_in_l1[row]; };

    fill_lanes(get_write_ptr(OPEN));  // the buffer is one page, so they stay
    const uint32_t blocks_in_l1 = get_write_ptr(BUFFER("blocks"));
    uint32_t sequence_in_l1 = 0xFFFFFFFF;  // no row of the table is in L1 yet
    work.for_each_task(position_of, [&](const parts::Task& task) {
        if (task.row / tokens != sequence_in_l1) {
            sequence_in_l1 = task.row / tokens;
            noc_async_read(table.get_noc_addr(sequence_in_l1), blocks_in_l1, work.most * parts::BLOCKS * 4);
        }
        cb_reserve_back(QUERY, 1);
        cb_reserve_back(OPEN, 1);
        const uint32_t begin = task.group * GROUP_FEATURES;
        strips::read_row<1>(q, FEATURES, task.row, begin, begin + GROUP_FEATURES, get_write_ptr(QUERY));
        fill_open(position_of(task.row) + 1 - task.part * parts::LENGTH, get_write_ptr(OPEN));
        noc_async_read_barrier();
        cb_push_back(QUERY, 1);
        cb_push_back(OPEN, 1);

        if (task.is_first) {
            const rows::Words blocks = rows::words_at(blocks_in_l1) + task.part * parts::BLOCKS;
            read_blocks(keys, blocks, task.group / GROUPS_EACH, KEYS);
            noc_async_read_barrier();
            cb_push_back(KEYS, parts::BLOCKS * COLUMNS);
            read_blocks(values, blocks, task.group / GROUPS_EACH, VALUES);
            noc_async_read_barrier();
            cb_push_back(VALUES, parts::BLOCKS * COLUMNS);
        }
    });

    if constexpr (parts::SPLITS) {
        // Every core counts the results that have arrived for the pairs which it combines.
        uint32_t expected = 0;
        work.for_each_pair([&](uint32_t row, uint32_t) { expected += parts::count(position_of(row)); });
        const rows::Words arrived = rows::words_at(get_semaphore(SEMAPHORE("arrived")));
        noc_semaphore_wait(arrived, expected);
        noc_semaphore_set(arrived, 0);  // for the next launch
        work.for_each_pair([&](uint32_t row, uint32_t group) {
            const uint32_t end = parts::count(position_of(row));
            for (uint32_t part = 0; part < end; ++part) {
                cb_reserve_back(RETURNED, 2);
                const uint32_t to = get_write_ptr(RETURNED);
                const uint64_t from = results.get_noc_addr(work.result_page(row, group, part));
                noc_async_read(from, to, GROUP_FEATURES * 4);
                noc_async_read(from + GROUP_FEATURES * 4, to + rows::PAGE * 4, STATS_BYTES);
                noc_async_read_barrier();
                cb_push_back(RETURNED, 2);
            }
        });
    }
}
