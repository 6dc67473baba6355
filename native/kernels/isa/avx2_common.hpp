// What the tables avx2 and avx_vnni share: the screen's codes from memory to registers, sums in 16 bits, and sums from
// registers to memory.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// The sum of 8 lanes: the two halves, then the halves of what is left, twice. 0x4e swaps pairs, 0xb1 neighbours.
inline std::int32_t sum_of_lanes(__m256i a) {
    __m128i four = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

// The codes of columns column..column + 31 of a screen's byte row, one register for each field. screen.hpp draws the
// layout: the bytes a, b and c of a column are 64 bytes apart, and groups of 64 columns take 192 bytes.
//
//     code of field 0, 1, 2   the low six bits of a, b, c
//     code of field 3         . . a7 a6 b7 b6 c7 c6      a7 means bit 7 of a
//
// The masks come before the shifts, because AVX2 shifts 16-bit words and bits would cross from byte to byte.
BITNET_INLINE inline void load_screen_codes(const std::uint8_t* w, std::size_t column, __m256i (&codes)[4]) {
    const auto* p = reinterpret_cast<const __m256i*>(w + column / 64 * 3 * 64 + column % 64);
    const __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256(p + 2), c = _mm256_loadu_si256(p + 4);
    const __m256i low = _mm256_set1_epi8(0x3f), top = _mm256_set1_epi8(static_cast<char>(0xc0));
    const auto top_bits = [&](__m256i bytes, int shift)
                              BITNET_INLINE { return _mm256_srli_epi16(_mm256_and_si256(bytes, top), shift); };
    codes[0] = _mm256_and_si256(a, low);
    codes[1] = _mm256_and_si256(b, low);
    codes[2] = _mm256_and_si256(c, low);
    codes[3] = _mm256_or_si256(top_bits(a, 2), _mm256_or_si256(top_bits(b, 4), top_bits(c, 6)));
}

// sums += codes * values: 16 sums of 16 bits, to each of which a pair of products is added. Assembly, because g++
// multiplies for all sums before it adds to the first, and has no registers left for the sums.
BITNET_INLINE inline void add_pairs(__m256i& sums, __m256i codes, __m256i values) {
    __m256i products;
    asm("vpmaddubsw %3, %2, %1; vpaddw %1, %0, %0" : "+x"(sums), "=&x"(products) : "x"(codes), "x"(values));
}

// The same for 32 values in memory, at any alignment. They need no register.
BITNET_INLINE inline void add_pairs(__m256i& sums, __m256i codes, const std::int8_t* values) {
    __m256i products;
    asm("vpmaddubsw %3, %2, %1; vpaddw %1, %0, %0"
        : "+x"(sums), "=&x"(products)
        : "x"(codes), "m"(*reinterpret_cast<const __m256i_u*>(values)));
}

// Writes the sums to the layout of CodeSums (linear.hpp): [token][field][byte row]. This is one byte row of it. The
// lanes of four fields are added together, which takes a third of the instructions of one field after another.
template <int kTokens>
BITNET_INLINE inline void store_sums(const __m256i (&sums)[kTokens][4], std::int32_t* code_sums) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m256i pairs = _mm256_hadd_epi32(sums[t][0], sums[t][1]),
                      more = _mm256_hadd_epi32(sums[t][2], sums[t][3]);
        const __m256i halves = _mm256_hadd_epi32(pairs, more);
        const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1));
        std::int32_t* const to = code_sums + t * 4 * kBlockRows;
        to[0] = _mm_cvtsi128_si32(four);
        to[kBlockRows] = _mm_extract_epi32(four, 1);
        to[2 * kBlockRows] = _mm_extract_epi32(four, 2);
        to[3 * kBlockRows] = _mm_extract_epi32(four, 3);
    }
}

// 16 rows of one group of the grouped form against kTokens tokens; grouped.hpp draws the layout. A 32-bit lane belongs
// to one row, so no lanes are ever added: 64 bytes are two registers of 8 rows with 16 columns each, and the four
// activations of a field are the same for all lanes.
//
// vpmaddubsw leaves two 16-bit sums for each lane. A step adds at most 2 * 3 * 128 = 768 to each, four times for 16
// columns: a group of 128 columns makes 24,576, so 16 bits are enough for the whole group. This is the code of all x86
// tables. AVX-512 and AVX-VNNI have shorter instructions for it, but most of the time goes into reading.
template <int kTokens>
BITNET_INLINE inline void dot_group(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* code_sums) {
    __m256i sums[kTokens][2] = {};
    const __m256i low_bits = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    for (std::size_t column = 0; column < columns; column += 16) {
        const auto* p = reinterpret_cast<const __m256i*>(w + 4 * column);
        prefetch(w + 4 * column, kGroupedAhead);
        const __m256i first = _mm256_loadu_si256(p), second = _mm256_loadu_si256(p + 1);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) {
            const __m256i codes[2] = {_mm256_and_si256(_mm256_srli_epi16(first, 2 * i), low_bits),
                                      _mm256_and_si256(_mm256_srli_epi16(second, 2 * i), low_bits)};
            BITNET_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                std::int32_t four;
                __builtin_memcpy(&four, x + t * x_stride + column + 4 * i, 4);
                const __m256i values = _mm256_set1_epi32(four);
                add_pairs(sums[t][0], codes[0], values);
                add_pairs(sums[t][1], codes[1], values);
            }
        }
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        auto* out = reinterpret_cast<__m256i*>(code_sums + t * kBlockRows);
        _mm256_storeu_si256(out, _mm256_madd_epi16(sums[t][0], ones));
        _mm256_storeu_si256(out + 1, _mm256_madd_epi16(sums[t][1], ones));
    }
}

}  // namespace
}  // namespace bitnet
