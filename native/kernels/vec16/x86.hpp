// The part of Vec16 that AVX2 and AVX-512 share: the last steps of the pairwise sum, in registers of 8 and 4 lanes.
// Both files include it, so they always add in the same order.
#pragma once

#include <immintrin.h>

namespace bitnet {
namespace {

inline float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// Lane l of the result is lane l + lane l + 4.
inline __m128 fold_to_four(__m256 eight) {
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}

// Adds the lanes of the last three steps: l + (l + 4), then l + (l + 2), then 0 + 1.
inline float sum_of_eight(__m256 eight) {
    const __m128 four = fold_to_four(eight);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace bitnet
