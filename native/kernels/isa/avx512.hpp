// The integer products of AVX-512 with VNNI, 64 columns at a time.
//
// All of it is built on one instruction, vpdpbusd. It takes a register of 64 unsigned bytes and one of 64 signed bytes,
// multiplies them byte by byte, and adds each four neighbouring products to one of 16 int32 sums:
//
//     codes    u8    c0   c1   c2   c3   |  c4   c5   c6   c7   | ...    64 codes of one field of a byte row
//     values   s8    v0   v1   v2   v3   |  v4   v5   v6   v7   | ...    64 activations of one token
//     sums     s32   += c0*v0 .. + c3*v3 |  += c4*v4 .. + c7*v7 | ...    16 sums, added up at the end of the row
//
// A byte row of the stored form holds four outputs. So 64 bytes of weights make four registers of codes, and with six
// tokens one load of weights is enough for 24 such instructions.
#pragma once

#include "kernels/isa/avx2_common.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"
#include "kernels/vec16/avx512.hpp"

namespace bitnet {
namespace {

// 6 tokens * 4 fields = 24 registers of sums, 4 of codes, 1 of activations; the masks are read from memory if need be.
constexpr std::size_t kTokenTile = 6;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    __m512i total = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(1);
    for (std::size_t i = 0; i < n; i += 64) total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(x + i));
    return _mm512_reduce_add_epi32(total);
}

// sums += codes * values, the same as _mm512_dpbusd_epi32. It is written as assembly because g++ 11 and 12 copy and
// spill the sums around the intrinsic when many are alive, which costs more than half the speed.
BITNET_INLINE inline void add_products(__m512i& sums, __m512i codes, __m512i values) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(values));
}

// 24 independent sums: a sum waits for its own last addition only, so the multipliers never wait.
std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 24;
    __m512i sums[kChains] = {};
    const __m512i codes = _mm512_set1_epi8(1), values = _mm512_set1_epi8(2);
    for (std::size_t i = 0; i < rounds; ++i) {
        BITNET_UNROLL
        for (int chain = 0; chain < kChains; ++chain) add_products(sums[chain], codes, values);
    }
    // An empty use of the sums. Without it the compiler would drop the whole loop.
    BITNET_UNROLL
    for (int chain = 0; chain < kChains; ++chain) asm volatile("" : : "v"(sums[chain]));
    return rounds * kChains * 64;
}

// The sums of the lanes of a, b, c and d. Interleaving first adds two vectors with one instruction, then four:
//
//     ab    a b a b | a b a b | ...      unpacklo + unpackhi: halves the lanes of a and b
//     abcd  a b c d | a b c d | ...      the same in 64-bit pairs
//     then the four quarters of the register are added
inline __m128i sum4(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Adds the products of 64 columns: the codes of four fields times the activations of kTokens tokens. All four codes are
// in registers, so each token's activations are loaded once.
template <int kTokens>
BITNET_INLINE inline void add_codes(__m512i (&sums)[kTokens][4], const __m512i (&code)[4], const std::int8_t* x,
                                    std::size_t x_stride) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i values = _mm512_loadu_si512(x + t * x_stride);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) add_products(sums[t][i], code[i], values);
    }
}

// Writes the sums to the layout of CodeSums (linear.hpp): [token][field][byte row]. This is one byte row of it.
template <int kTokens>
BITNET_INLINE inline void store_sums(const __m512i (&sums)[kTokens][4], std::int32_t* code_sums) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        alignas(16) std::int32_t four[4];
        _mm_store_si128(reinterpret_cast<__m128i*>(four), sum4(sums[t][0], sums[t][1], sums[t][2], sums[t][3]));
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) code_sums[(t * 4 + i) * kBlockRows] = four[i];
    }
}

// A byte row of the stored form against kTokens tokens.
//
// The four fields of a byte are separated by masks alone. A code then stays at its place in the byte:
//
//     bits     7 6 | 5 4 | 3 2 | 1 0
//     field     3  |  2  |  1  |  0
//     & 0xc0   c c   0 0   0 0   0 0    = 64 * code of field 3
//     & 0x30         c c   0 0   0 0    = 16 * code of field 2
//     & 0x0c               c c   0 0    =  4 * code of field 1
//     & 0x03                     c c    =      code of field 0
//
// So the sum of field i counts 4^i times. A shift at the end of the row divides it, without a remainder, since every
// product is a multiple of 4^i. One shift for each row replaces one shift for each 64 columns.
//
// Sums cannot overflow: vpdpbusd adds four products to an int32, each at most 3 * 64 * 128 = 24,576 even for the
// invalid code 3. 2^31 / (4 * 24,576) = 21,845 steps of 64 columns are 1.4 million columns.
//
// The loop reads one byte row after another and prefetches nothing itself: the hardware prefetcher follows one stream
// of addresses best (docs/decisions/0001).
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* code_sums) {
    __m512i sums[kTokens][4] = {};
    const __m512i field_mask[4] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30),
                                   _mm512_set1_epi8(static_cast<char>(0xc0))};
    const auto step = [&](std::size_t column, __m512i bytes) BITNET_INLINE {
        __m512i code[4];
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) code[i] = _mm512_and_si512(bytes, field_mask[i]);
        add_codes(sums, code, x + column, x_stride);
    };
    const std::size_t whole = in / 64 * 64;
    for (std::size_t column = 0; column < whole; column += 64) step(column, _mm512_loadu_si512(w + column));
    if (whole < in) {  // a masked load, as the bytes after the row may be outside the mapping
        const __mmask64 mask = (std::uint64_t{1} << (in - whole)) - 1;
        step(whole, _mm512_maskz_loadu_epi8(mask, w + whole));
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 1; i < 4; ++i) sums[t][i] = _mm512_srai_epi32(sums[t][i], 2 * i);
    }
    store_sums(sums, code_sums);
}

// A byte row of the screen against kTokens tokens. screen.hpp draws the layout: the low six bits of the bytes a, b and
// c are the codes of fields 0, 1 and 2; their top two bits are the code of field 3 in three pieces.
//
// vpternlog with kSelect is a bitwise `mask ? x : y` and puts the pieces together in two instructions. Shifts of 16-bit
// words also move bits across bytes; the masks `high` and `middle` pick only bits that come from the same byte.
//
//     a >> 2              . . a7 a6 . . . .        a7 means bit 7 of a
//     b >> 4              . . . . b7 b6 . .
//     c >> 6              . . . . . . c7 c6        d = . . a7 a6 b7 b6 c7 c6
template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* code_sums) {
    __m512i sums[kTokens][4] = {};
    const __m512i low = _mm512_set1_epi8(0x3f), high = _mm512_set1_epi8(0x30), middle = _mm512_set1_epi8(0x0c);
    constexpr int kSelect = 0xca;  // the bits of the first operand choose between those of the second and third
    const auto step = [&](std::size_t column, __m512i a, __m512i b, __m512i c) BITNET_INLINE {
        const __m512i b_and_c =
            _mm512_ternarylogic_epi32(middle, _mm512_srli_epi16(b, 4), _mm512_srli_epi16(c, 6), kSelect);
        const __m512i d = _mm512_ternarylogic_epi32(high, _mm512_srli_epi16(a, 2), b_and_c, kSelect);
        const __m512i code[4] = {_mm512_and_si512(a, low), _mm512_and_si512(b, low), _mm512_and_si512(c, low),
                                 _mm512_and_si512(d, low)};
        add_codes(sums, code, x + column, x_stride);
    };
    for (std::size_t column = 0; column < columns; column += 64, w += 3 * 64)
        step(column, _mm512_loadu_si512(w), _mm512_loadu_si512(w + 64), _mm512_loadu_si512(w + 128));
    store_sums(sums, code_sums);
}

}  // namespace
}  // namespace bitnet
