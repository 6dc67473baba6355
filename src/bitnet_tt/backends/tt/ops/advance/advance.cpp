// Turn the inputs of a decode step into those of the next one. A work item is a line of 16 rows.
//
// A row moves on by one position, to the slot that its block table names. Its next token has the largest of the logits
// that were found in the parts of the vocabulary; of equal ones, that of the first part, because token ids rise. Rows
// whose slot is `skip` are padding. They stay as they are.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/candidate.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t LINE = CONSTANT("line"), SKIP = CONSTANT("skip");
constexpr uint32_t LINE_BYTES = LINE * 4;
constexpr uint32_t BLOCK = 32;  // positions of a block of the cache

// The largest of the logits of the parts: entry `index` of each part's line.
static inline Candidate largest(Candidates line, uint32_t index, uint32_t parts) {
    Candidate best = {line[index].logit, line[index].token_id};
    int32_t rank = rank_of(best.logit);
    for (uint32_t part = 1; part < parts; ++part) {
        const uint32_t logit = line[part * LINE + index].logit;
        if (rank_of(logit) > rank) {
            best = {logit, line[part * LINE + index].token_id};
            rank = rank_of(logit);
        }
    }
    return best;
}

void kernel_main() {
    const uint32_t rows = ARGUMENT("rows"), columns = ARGUMENT("table_columns"), parts = ARGUMENT("parts");
    const auto token_ids = TENSOR("token_ids", rows::DRAM_READ);
    const auto positions = TENSOR("positions", rows::DRAM_READ);
    const auto slots = TENSOR("slots", rows::DRAM_READ);
    const auto table = TENSOR("table", columns * 4);
    const auto top = TENSOR("top", rows * sizeof(Candidate));
    const auto best = TENSOR("best", 2 * LINE * sizeof(Candidate));
    const uint32_t tokens_in_l1 = get_write_ptr(BUFFER("token_ids")), slots_in_l1 = get_write_ptr(BUFFER("slots"));
    const uint32_t positions_in_l1 = get_write_ptr(BUFFER("positions"));
    const uint32_t blocks_in_l1 = get_write_ptr(BUFFER("blocks")), best_in_l1 = get_write_ptr(BUFFER("best"));
    const rows::Words token = rows::words_at(tokens_in_l1), position = rows::words_at(positions_in_l1);
    const rows::Words slot = rows::words_at(slots_in_l1);

    for (const uint32_t item : work::Items((rows + LINE - 1) / LINE)) {
        const uint32_t first = item * LINE, count = rows - first < LINE ? rows - first : LINE;
        noc_async_read(token_ids.get_noc_addr(0, item * LINE_BYTES), tokens_in_l1, LINE_BYTES);
        noc_async_read(positions.get_noc_addr(0, item * LINE_BYTES), positions_in_l1, LINE_BYTES);
        noc_async_read(slots.get_noc_addr(0, item * LINE_BYTES), slots_in_l1, LINE_BYTES);
        if constexpr (HAS_TENSOR("top")) {
            uint32_t to = get_write_ptr(BUFFER("top"));
            for (uint32_t part = 0; part < parts; ++part) {
                noc_async_read(top.get_noc_addr(part, first * sizeof(Candidate)), to, count * sizeof(Candidate));
                to += LINE * sizeof(Candidate);
            }
        }
        noc_async_read_barrier();

        // The block of each row's next position, with its neighbours in the table.
        for (uint32_t row = 0; row < count; ++row) {
            const uint32_t block = (position[row] + 1) / BLOCK;
            if (slot[row] != SKIP && block < columns) {
                const uint64_t from = table.get_noc_addr(first + row, block / LINE * LINE_BYTES);
                noc_async_read(from, blocks_in_l1 + row * LINE_BYTES, LINE_BYTES);
            }
        }
        noc_async_read_barrier();

        for (uint32_t row = 0; row < count; ++row) {
            if (slot[row] == SKIP) {
                continue;
            }
            if constexpr (HAS_TENSOR("top")) {
                const Candidate next = largest(candidates_at(get_write_ptr(BUFFER("top"))), row, parts);
                candidates_at(best_in_l1)[row].logit = next.logit;
                candidates_at(best_in_l1)[row].token_id = next.token_id;
                token[row] = next.token_id;
            }
            const uint32_t next = ++position[row], block = next / BLOCK;
            const uint32_t named = rows::words_at(blocks_in_l1 + row * LINE_BYTES)[block % LINE];
            slot[row] = block < columns ? named * BLOCK + next % BLOCK : SKIP;
        }
        noc_async_write(tokens_in_l1, token_ids.get_noc_addr(0, item * LINE_BYTES), LINE_BYTES);
        noc_async_write(positions_in_l1, positions.get_noc_addr(0, item * LINE_BYTES), LINE_BYTES);
        noc_async_write(slots_in_l1, slots.get_noc_addr(0, item * LINE_BYTES), LINE_BYTES);
        if constexpr (HAS_TENSOR("top")) {
            constexpr uint32_t bytes = LINE * sizeof(Candidate);
            noc_async_write(best_in_l1, best.get_noc_addr(0, item * bytes), bytes);
        }
        noc_async_write_barrier();
    }
}
