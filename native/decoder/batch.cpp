#include "decoder/batch.hpp"

#include <stdexcept>
#include <string>

#include "runtime/errors.hpp"

namespace bitnet {

namespace {

[[noreturn]] void fail(const std::string& message) { throw std::invalid_argument("batch: " + message); }

std::string number(std::int64_t n) { return std::to_string(n); }

// Checks sequence i: its tokens, its length, and the block of each of its positions.
void check_sequence(const Batch& batch, std::size_t i, const Model& model, const KVCache& cache) {
    const std::int64_t begin = batch.starts[i], end = batch.starts[i + 1];
    if (begin >= end || end > static_cast<std::int64_t>(batch.tokens))
        fail("starts must rise from 0 to the number of tokens");
    if (batch.positions[i] < 0) fail("position of sequence " + number(i) + " is negative");
    // Its length after this step, in tokens. The sum is 64 bits wide: the position may be close to 2^31.
    const std::size_t length = static_cast<std::size_t>(batch.positions[i] + (end - begin));
    if (length > model.context)
        throw RequestError("the text would be " + number(length) + " tokens long; the context holds " +
                           number(model.context));
    const std::size_t blocks = (length + cache.block_size() - 1) / cache.block_size();
    if (blocks > batch.table_width) fail("sequence " + number(i) + " needs a table of " + number(blocks) + " blocks");
    const std::int32_t* table = batch.block_tables + i * batch.table_width;
    for (std::size_t b = 0; b < blocks; ++b)
        if (table[b] < 0 || static_cast<std::size_t>(table[b]) >= cache.blocks())
            fail("sequence " + number(i) + " uses block " + number(table[b]) + " of a cache of " +
                 number(cache.blocks()));
}

}  // namespace

void check(const Batch& batch, const Model& model, const KVCache& cache) {
    if (cache.blocks() == 0) fail("there is no cache yet; call allocate first");
    if (batch.tokens == 0 || batch.sequences == 0) fail("there are no tokens");
    for (std::size_t t = 0; t < batch.tokens; ++t)
        if (batch.token_ids[t] < 0 || static_cast<std::size_t>(batch.token_ids[t]) >= model.shape.vocab)
            throw RequestError("token id " + number(batch.token_ids[t]) + " is outside the vocabulary of " +
                               number(model.shape.vocab));
    if (batch.starts[0] != 0 || batch.starts[batch.sequences] != static_cast<std::int64_t>(batch.tokens))
        fail("starts must rise from 0 to the number of tokens");
    // check_sequence proves that `starts` rises, so the two ends checked above bound all of it.
    for (std::size_t i = 0; i < batch.sequences; ++i) check_sequence(batch, i, model, cache);
    for (std::size_t r = 0; r < batch.rows; ++r) {
        const std::int32_t row = batch.logit_rows[r];
        if (row < 0 || static_cast<std::size_t>(row) >= batch.tokens || (r > 0 && row <= batch.logit_rows[r - 1]))
            fail("logit_rows must rise within the tokens");
    }
}

}  // namespace bitnet
