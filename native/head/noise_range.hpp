// How large the sum of a logit and its token's noise is at least, and at most.
#pragma once

#include <cstdint>

#include "kernels/kernels.hpp"

namespace bitnet {

struct ScoreRange {
    float least = 0.0f, greatest = 0.0f;
};

// Bounds logit + noise from the first of the two random words of a token. The range is wide enough for the rounding of
// this function, and of the kernels that bound the same sum in float32.
ScoreRange score_range(const Noise& noise, float logit, std::int32_t id);

}  // namespace bitnet
