// What the two AVX2 tables share: the screen's codes from memory, and integer sums to it.
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

// Codes of 32 columns of a screen's row, see screen.hpp.
BITNET_INLINE inline void load_screen_codes(const std::uint8_t* w, std::size_t column, __m256i (&codes)[4]) {
    const auto* p = reinterpret_cast<const __m256i*>(w + column / 64 * 3 * 64 + column % 64);
    const __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256(p + 2), c = _mm256_loadu_si256(p + 4);
    const __m256i low = _mm256_set1_epi8(0x3f), top = _mm256_set1_epi8(static_cast<char>(0xc0));
    const auto top_bits = [&](__m256i bytes, int to)
                              BITNET_INLINE { return _mm256_srli_epi16(_mm256_and_si256(bytes, top), to); };
    codes[0] = _mm256_and_si256(a, low);
    codes[1] = _mm256_and_si256(b, low);
    codes[2] = _mm256_and_si256(c, low);
    codes[3] = _mm256_or_si256(top_bits(a, 2), _mm256_or_si256(top_bits(b, 4), top_bits(c, 6)));
}

// Sums of four rows of codes for kTokens tokens, as dot_row and dot_screen_row write them.
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
