// A logit and its token, as the search for the largest logits passes them on. For data movement kernels.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

struct Candidate {
    uint32_t logit;  // its bits
    uint32_t token_id;
};

using Candidates = volatile tt_l1_ptr Candidate*;

inline Candidates candidates_at(uint32_t address) { return reinterpret_cast<Candidates>(address); }

// Map the bits of a float to an integer of the same order. Both zeros are equal.
inline int32_t rank_of(uint32_t bits) {
    const int32_t value = static_cast<int32_t>(bits);
    return value >= 0 ? value : static_cast<int32_t>(0x80000000 - bits);
}
