// AVX-512 with VNNI: vpdpbusd of unsigned codes and signed activations, 64 columns at a time.
#pragma once

#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"
#include "kernels/vec16/avx512.hpp"

namespace bitnet {
namespace {

constexpr std::size_t kTokenTile = 6;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    __m512i total = _mm512_setzero_si512();
    const __m512i ones = _mm512_set1_epi8(1);
    for (std::size_t i = 0; i < n; i += 64) total = _mm512_dpbusd_epi32(total, ones, _mm512_loadu_si512(x + i));
    return _mm512_reduce_add_epi32(total);
}

// sums += codes * values, as _mm512_dpbusd_epi32. Written as assembly because g++ (11, 12) copies and spills the sums
// around the intrinsic when many are alive, which costs more than half the speed.
BITNET_INLINE inline void add_products(__m512i& sums, __m512i codes, __m512i values) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(values));
}

std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 24;
    __m512i sums[kChains] = {};
    const __m512i codes = _mm512_set1_epi8(1), values = _mm512_set1_epi8(2);
    for (std::size_t i = 0; i < rounds; ++i) {
        BITNET_UNROLL
        for (int chain = 0; chain < kChains; ++chain) add_products(sums[chain], codes, values);
    }
    BITNET_UNROLL
    for (int chain = 0; chain < kChains; ++chain) asm volatile("" : : "v"(sums[chain]));  // wanted
    return rounds * kChains * 64;
}

// The sums of four vectors.
inline __m128i sum4(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti64x4_epi64(abcd, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// Adds 64 columns of four rows of codes for kTokens tokens; all accumulators stay in registers.
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

template <int kTokens>
BITNET_INLINE inline void store_sums(const __m512i (&sums)[kTokens][4], std::int32_t* codes) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        alignas(16) std::int32_t four[4];
        _mm_store_si128(reinterpret_cast<__m128i*>(four), sum4(sums[t][0], sums[t][1], sums[t][2], sums[t][3]));
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = four[i];
    }
}

// A byte row against kTokens tokens. The codes stay where they lie in their byte, so field i counts 4^i times; the sums
// are divided at the end, exactly, as every product is a multiple of 4^i. Rows are read one after the other and nothing
// is asked for ahead of time: the processor's own prefetching serves one stream of addresses best
// (docs/decisions/0001).
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* codes) {
    __m512i sums[kTokens][4] = {};
    const __m512i field[4] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x30),
                              _mm512_set1_epi8(static_cast<char>(0xc0))};
    const auto step = [&](std::size_t column, __m512i bytes) BITNET_INLINE {
        __m512i code[4];
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) code[i] = _mm512_and_si512(bytes, field[i]);
        add_codes(sums, code, x + column, x_stride);
    };
    const std::size_t whole = in / 64 * 64;
    for (std::size_t column = 0; column < whole; column += 64) step(column, _mm512_loadu_si512(w + column));
    if (whole < in) {
        const __mmask64 mask = (std::uint64_t{1} << (in - whole)) - 1;
        step(whole, _mm512_maskz_loadu_epi8(mask, w + whole));
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 1; i < 4; ++i) sums[t][i] = _mm512_srai_epi32(sums[t][i], 2 * i);
    }
    store_sums(sums, codes);
}

template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* codes) {
    __m512i sums[kTokens][4] = {};
    const __m512i low = _mm512_set1_epi8(0x3f), high = _mm512_set1_epi8(0x30), middle = _mm512_set1_epi8(0x0c);
    constexpr int kSelect = 0xca;  // the first operand's bits choose between the others'
    const auto step = [&](std::size_t column, __m512i a, __m512i b, __m512i c) BITNET_INLINE {
        const __m512i rest =
            _mm512_ternarylogic_epi32(middle, _mm512_srli_epi16(b, 4), _mm512_srli_epi16(c, 6), kSelect);
        const __m512i d = _mm512_ternarylogic_epi32(high, _mm512_srli_epi16(a, 2), rest, kSelect);
        const __m512i code[4] = {_mm512_and_si512(a, low), _mm512_and_si512(b, low), _mm512_and_si512(c, low),
                                 _mm512_and_si512(d, low)};
        add_codes(sums, code, x + column, x_stride);
    };
    for (std::size_t column = 0; column < columns; column += 64, w += 3 * 64)
        step(column, _mm512_loadu_si512(w), _mm512_loadu_si512(w + 64), _mm512_loadu_si512(w + 128));
    store_sums(sums, codes);
}

}  // namespace
}  // namespace bitnet
