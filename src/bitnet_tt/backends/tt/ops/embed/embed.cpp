// Look up the embeddings of tokens and write them as float32, in strips. A work item is a strip of one row.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t FEATURES = CONSTANT("features"), LINES = CONSTANT("lines");
constexpr uint32_t ELEMENT_BYTES = 2;  // bfloat16

// A bfloat16 is the upper half of a float32.
static inline void widen(uint32_t from, uint32_t count, uint32_t to) {
    const rows::Words pairs = rows::words_at(from), words = rows::words_at(to);
    for (uint32_t index = 0; index < count / 2; ++index) {
        const uint32_t pair = pairs[index];
        words[2 * index] = pair << 16;
        words[2 * index + 1] = pair & 0xFFFF0000;
    }
}

void kernel_main() {
    const auto token_ids = TENSOR("token_ids", rows::DRAM_READ);
    const auto embedding = TENSOR("embedding", FEATURES * ELEMENT_BYTES);
    const auto result = TENSOR("result", strips::BYTES<LINES>);
    const uint32_t narrow = get_write_ptr(BUFFER("narrow")), wide = get_write_ptr(BUFFER("wide"));

    for (const uint32_t item : work::Items(ARGUMENT("rows") * strips::count(FEATURES))) {
        const uint32_t row = item / strips::count(FEATURES);
        const uint32_t begin = item % strips::count(FEATURES) * strips::LENGTH;
        const uint32_t end = begin + strips::LENGTH < FEATURES ? begin + strips::LENGTH : FEATURES;
        const uint32_t id = rows::read_element(token_ids, row, narrow);
        noc_async_read(embedding.get_noc_addr(id, begin * ELEMENT_BYTES), narrow, (end - begin) * ELEMENT_BYTES);
        noc_async_read_barrier();
        widen(narrow, end - begin, wide);
        strips::write_row<LINES>(result, FEATURES, row, begin, end, wide);
        noc_async_write_barrier();
    }
}
