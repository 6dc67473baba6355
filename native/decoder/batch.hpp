// The work of one step, as it comes from Python; see bitnet_tt.backends.base.Batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "decoder/kv_cache.hpp"
#include "decoder/model.hpp"

namespace bitnet {

// Owns nothing: the caller's arrays stay alive during the step.
struct Batch {
    const std::int32_t* token_ids;  // [tokens]
    std::size_t tokens;
    const std::int32_t* starts;     // [sequences + 1]: sequence i owns tokens starts[i]..starts[i + 1] (exclusive)
    const std::int32_t* positions;  // [sequences]: the position of each sequence's first token of this batch
    std::size_t sequences;
    const std::int32_t* block_tables;  // [sequences, table_width]
    std::size_t table_width;
    const std::int32_t* logit_rows;  // [rows]: rising indices of the tokens whose logits are computed
    std::size_t rows;
};

// Returns only if no index in the batch leads out of bounds. Otherwise throws RequestError if the model cannot take the
// tokens (an id outside the vocabulary, a text longer than the context), and std::invalid_argument for all other
// mistakes.
void check(const Batch& batch, const Model& model, const KVCache& cache);

}  // namespace bitnet
