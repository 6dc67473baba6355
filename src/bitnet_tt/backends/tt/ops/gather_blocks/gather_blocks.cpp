// Copy the blocks [blocks, kv_heads, 32, head_dim] of two caches that a block table names, so that the keys and the
// values of a sequence lie in order: [sequences, kv_heads, 32 * length, head_dim] each.
//
// A work item is one head of one block: head_dim / 32 tiles. The items of the keys come first, then those of the
// values.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

void kernel_main() {
    constexpr uint32_t kv_heads = CONSTANT("kv_heads");
    constexpr uint32_t columns = CONSTANT("columns");  // head_dim / 32
    constexpr uint32_t tile_bytes = CONSTANT("tile_bytes");

    const uint32_t sequences = ARGUMENT("sequences");
    const uint32_t length = ARGUMENT("length");  // blocks of a sequence to copy
    const auto keys = TENSOR("keys", tile_bytes);
    const auto values = TENSOR("values", tile_bytes);
    const auto table = TENSOR("table", ARGUMENT("table_columns") * 4);
    const auto key_target = TENSOR("key_target", tile_bytes);
    const auto value_target = TENSOR("value_target", tile_bytes);
    const uint32_t tiles = get_write_ptr(BUFFER("tiles")), blocks = get_write_ptr(BUFFER("blocks"));
    const rows::Words block_of = rows::words_at(blocks);

    uint32_t sequence_in_l1 = sequences;  // no row of the table is in L1 yet
    const uint32_t items_each = sequences * kv_heads * length;
    for (const uint32_t item : work::Items(2 * items_each)) {
        const bool of_values = item >= items_each;
        const uint32_t target_block = of_values ? item - items_each : item;
        const uint32_t position = target_block % length;
        const uint32_t head = target_block / length % kv_heads;
        const uint32_t sequence = target_block / length / kv_heads;
        if (sequence != sequence_in_l1) {
            noc_async_read(table.get_noc_addr(sequence), blocks, length * 4);
            noc_async_read_barrier();
            sequence_in_l1 = sequence;
        }
        const uint32_t from = (block_of[position] * kv_heads + head) * columns, to = target_block * columns;
        for (uint32_t column = 0; column < columns; ++column) {
            const uint32_t page = from + column;
            const uint64_t source = of_values ? values.get_noc_addr(page) : keys.get_noc_addr(page);
            noc_async_read(source, tiles + column * tile_bytes, tile_bytes);
        }
        noc_async_read_barrier();
        for (uint32_t column = 0; column < columns; ++column) {
            const uint32_t page = to + column;
            const uint64_t target = of_values ? value_target.get_noc_addr(page) : key_target.get_noc_addr(page);
            noc_async_write(tiles + column * tile_bytes, target, tile_bytes);
        }
        noc_async_write_barrier();
    }
}
