// Read queries, keys and values for paged_attention_compute.cpp, straight from the blocks of the cache. If the parts of
// a pair are split over cores, read their results back in the order of the parts.
//
// If the heads come as the product gives them, the row's own key and value are not in the cache yet. Every core that
// attends to the row's own position puts them among those of the part, in L1, and one core of each KV head also writes
// them to the cache. So no core waits for another.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "api/dataflow/dataflow_api.h"
#include "parts.hpp"

constexpr uint32_t QUERY = BUFFER("query"), OPEN = BUFFER("open"), KEYS = BUFFER("keys"), VALUES = BUFFER("values");
constexpr uint32_t POSITIONS = BUFFER("positions"), RETURNED = BUFFER("returned");

using parts::COLUMNS, parts::HEAD, parts::HEAD_BYTES;
constexpr uint32_t FEATURES = CONSTANT("features");        // of a row of heads
constexpr uint32_t LINES = CONSTANT("lines");              // rows that share a strip of heads
constexpr uint32_t GROUPS_EACH = CONSTANT("groups_each");  // groups that share a KV head
constexpr uint32_t KV_HEADS = CONSTANT("kv_heads");

// Whether the heads are q, k and v as the product gives them. Then a second page of QUERY, and of SWAPPED, has the
// row's own key. VALUE has its value.
constexpr bool ROTATES = HAS_TENSOR("cosines");
constexpr uint32_t QUERY_PAGES = ROTATES ? 2 : 1, PAGE_BYTES = rows::PAGE * 4;
constexpr uint32_t FIRST_KEY = parts::GROUPS * parts::HEADS * HEAD, FIRST_VALUE = FIRST_KEY + KV_HEADS * HEAD;
constexpr uint32_t SWAPPED = BUFFER("swapped"), COSINES = BUFFER("cosines"), SINES = BUFFER("sines");
constexpr uint32_t KEY = BUFFER("key"), VALUE = BUFFER("value");
constexpr uint32_t SKIP = CONSTANT("skip");  // the slot of a row that is not written to the cache

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

// Read the query heads of a group, and prepare their rotation and that of the row's own key, if the part needs it.
template <typename Heads, typename Angles>
static inline void read_heads(const Heads& heads, const Angles& cosines, const Angles& sines, const parts::Task& task,
                              uint32_t position) {
    const bool is_own = ROTATES && parts::is_own(task.part, position);
    const uint32_t kv_begin = task.group / GROUPS_EACH * HEAD;
    const auto read = [&](uint32_t begin, uint32_t elements, uint32_t to) {
        strips::read_row<LINES>(heads, FEATURES, task.row, begin, begin + elements, to);
    };
    cb_reserve_back(QUERY, QUERY_PAGES);
    const uint32_t query = get_write_ptr(QUERY), key = query + PAGE_BYTES;
    read(task.group * parts::HEADS * HEAD, parts::HEADS * HEAD, query);
    if constexpr (ROTATES) {
        cb_reserve_back(SWAPPED, QUERY_PAGES);
        cb_reserve_back(COSINES, 1);
        cb_reserve_back(SINES, 1);
        noc_async_read(cosines.get_noc_addr(position), get_write_ptr(COSINES), HEAD_BYTES);
        noc_async_read(sines.get_noc_addr(position), get_write_ptr(SINES), HEAD_BYTES);
    }
    if (is_own) {
        read(FIRST_KEY + kv_begin, HEAD, key);
        read(FIRST_VALUE + kv_begin, HEAD, get_write_ptr(VALUE));
    }
    noc_async_read_barrier();
    if constexpr (ROTATES) {
        const uint32_t swapped = get_write_ptr(SWAPPED);
        rows::swap_halves<HEAD_BYTES>(query, swapped, parts::HEADS);
        if (is_own) {
            rows::swap_halves<HEAD_BYTES>(key, swapped + PAGE_BYTES, 1);
        }
        noc_async_read_barrier();
        cb_push_back(SWAPPED, QUERY_PAGES);
        cb_push_back(COSINES, 1);
        cb_push_back(SINES, 1);
    }
    cb_push_back(QUERY, QUERY_PAGES);
}

// Put the row's own key or value, at `from`, among those of its part, and start to write it to its slot.
template <typename Accessor>
static inline void add_own(const Accessor& cache, uint32_t slot, const parts::Task& task, uint32_t position,
                           uint32_t buffer, uint32_t from) {
    const uint32_t kv_head = task.group / GROUPS_EACH, offset = tile::row_offset<4>(position);
    const uint32_t block = position % parts::LENGTH / parts::BLOCK;  // of the part
    rows::place(get_write_ptr(buffer) + block * COLUMNS * tile::BYTES<4>, COLUMNS, offset, from);
    if (slot != SKIP && task.group % GROUPS_EACH == 0) {
        rows::write<4>(cache, (slot / parts::BLOCK * KV_HEADS + kv_head) * COLUMNS, COLUMNS, offset, from);
    }
    noc_async_read_barrier();
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
    const auto heads = TENSOR("heads", strips::BYTES<LINES>);
    const auto cosines = TENSOR("cosines", HEAD_BYTES);
    const auto sines = TENSOR("sines", HEAD_BYTES);
    const auto keys = TENSOR("keys", tile::BYTES<4>);
    const auto values = TENSOR("values", tile::BYTES<4>);
    const auto positions = TENSOR("positions", ARGUMENT("positions") * 4);
    const auto slots = TENSOR("slots", ARGUMENT("positions") * 4);
    const auto table = TENSOR("table", ARGUMENT("table_columns") * 4);
    const auto parts_in_dram = TENSOR("parts", parts::PART_BYTES);
    const uint32_t tokens = ARGUMENT("tokens");  // of a sequence
    const parts::Work work{ARGUMENT("rows"), ARGUMENT("together"), ARGUMENT("most_parts")};

    cb_reserve_back(POSITIONS, 1);
    const rows::Words positions_in_l1 = rows::words_at(get_write_ptr(POSITIONS));
    noc_async_read(positions.get_noc_addr(0), get_write_ptr(POSITIONS), ARGUMENT("positions") * 4);
    const rows::Words slots_in_l1 = rows::words_at(get_write_ptr(BUFFER("slots")));
    if constexpr (ROTATES) {
        noc_async_read(slots.get_noc_addr(0), get_write_ptr(BUFFER("slots")), ARGUMENT("positions") * 4);
    }
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
        const uint32_t position = position_of(task.row);
        read_heads(heads, cosines, sines, task, position);
        cb_reserve_back(OPEN, 1);
        fill_open(position + 1 - task.part * parts::LENGTH, get_write_ptr(OPEN));
        cb_push_back(OPEN, 1);

        if (task.is_first) {
            const rows::Words blocks = rows::words_at(blocks_in_l1) + task.part * parts::BLOCKS;
            const bool adds = ROTATES && parts::is_own(task.part, position);
            read_blocks(keys, blocks, task.group / GROUPS_EACH, KEYS);
            noc_async_read_barrier();
            if (adds) {
                cb_wait_front(KEY, 1);
                add_own(keys, slots_in_l1[task.row], task, position, KEYS, get_read_ptr(KEY));
            }
            cb_push_back(KEYS, parts::BLOCKS * COLUMNS);
            read_blocks(values, blocks, task.group / GROUPS_EACH, VALUES);
            noc_async_read_barrier();
            if (adds) {
                add_own(values, slots_in_l1[task.row], task, position, VALUES, get_write_ptr(VALUE));
            }
            cb_push_back(VALUES, parts::BLOCKS * COLUMNS);
            if (adds) {
                noc_async_write_barrier();
                cb_pop_front(KEY, 1);
            }
        }
    });

    if constexpr (parts::SPLITS) {
        // Every core counts the results that have arrived for the heads which it combines.
        uint32_t expected = 0;
        work.for_each_result([&](uint32_t row, uint32_t) { expected += parts::count(position_of(row)); });
        const rows::Words arrived = rows::words_at(get_semaphore(SEMAPHORE("arrived")));
        noc_semaphore_wait(arrived, expected);
        noc_semaphore_set(arrived, 0);  // for the next launch
        work.for_each_result([&](uint32_t row, uint32_t head) {
            const uint32_t end = parts::count(position_of(row)), in_group = head % parts::HEADS;
            const uint32_t sums = in_group * HEAD_BYTES;
            const uint32_t stats = parts::HEADS * HEAD_BYTES + in_group * parts::STATS_BYTES;
            for (uint32_t part = 0; part < end;) {
                cb_reserve_back(RETURNED, 2);
                uint32_t sums_in_l1 = get_write_ptr(RETURNED), stats_in_l1 = sums_in_l1 + PAGE_BYTES;
                for (uint32_t slot = 0; slot < parts::COMBINED && part < end; ++slot, ++part) {
                    const uint64_t from = parts_in_dram.get_noc_addr(work.page_of(row, head / parts::HEADS, part));
                    noc_async_read(from + sums, sums_in_l1, HEAD_BYTES);
                    noc_async_read(from + stats, stats_in_l1, parts::STATS_BYTES);
                    sums_in_l1 += HEAD_BYTES;
                    stats_in_l1 += parts::STATS_BYTES;
                }
                noc_async_read_barrier();
                cb_push_back(RETURNED, 2);
            }
        });
    }
}
