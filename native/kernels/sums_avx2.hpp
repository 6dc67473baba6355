// Integer sums in AVX2 registers, to memory.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

inline std::int32_t sum_of_lanes(__m256i a) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// Sums of four rows of codes for kTokens tokens, as dot_row and dot_byte_rows write them.
template <int kTokens>
BITNET_INLINE inline void store_sums(const __m256i (&sums)[kTokens][4], std::int32_t* codes) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = sum_of_lanes(sums[t][i]);
    }
}

}  // namespace
}  // namespace bitnet
