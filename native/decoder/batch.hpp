// One step's work as it comes from Python; see bitnet_tt.backends.base.Batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "decoder/kv_cache.hpp"
#include "decoder/model.hpp"

namespace bitnet {

struct Batch {
    const std::int32_t* token_ids;
    std::size_t tokens;
    const std::int32_t* starts;  // sequences + 1
    const std::int32_t* positions;
    std::size_t sequences;
    const std::int32_t* block_tables;  // [sequences, table_width]
    std::size_t table_width;
    const std::int32_t* logit_rows;
    std::size_t rows;
};

// Throws RequestError for tokens the model cannot take and std::invalid_argument for a batch that is not one. After it
// no index in the batch leads out of bounds.
void check(const Batch& batch, const Model& model, const KVCache& cache);

}  // namespace bitnet
