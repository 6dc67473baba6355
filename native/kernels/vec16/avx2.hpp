// Vec16 for AVX2 and FMA: two registers of 8 lanes. vec16/scalar.hpp says what each function computes.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/vec16/x86.hpp"

namespace bitnet {
namespace {

struct Vec16 {
    __m256 low, high;  // lanes 0-7 and 8-15
};

// 4 accumulators take 8 of the 16 registers; the rest is for operands.
constexpr int kAccumulators = 4;

using Part = __m256;
constexpr std::size_t kParts = 2, kPartLanes = 8, kPartAccumulators = 8;

// Eight times all ones, then eight zeros. The 8 numbers from index 8 - n on are a mask of the first n lanes:
//
//     index   0  1  2  3  4  5  6  7 | 8  9 10 11 12 13 14 15
//            -1 -1 -1 -1 -1 -1 -1 -1 | 0  0  0  0  0  0  0  0
//     n = 3                 [-1 -1 -1  0  0  0  0  0]
alignas(64) constexpr std::int32_t kLaneMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

inline __m256i first_lanes(std::size_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kLaneMasks + 8 - (n < 8 ? n : 8)));
}

inline Vec16 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline Vec16 broadcast(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline Vec16 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline Vec16 load_first(const float* p, std::size_t n) {
    const __m256 low = _mm256_maskload_ps(p, first_lanes(n));
    return {low, n > 8 ? _mm256_maskload_ps(p + 8, first_lanes(n - 8)) : _mm256_setzero_ps()};
}
inline void store(float* p, Vec16 a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
}
inline void store_first(float* p, Vec16 a, std::size_t n) {
    _mm256_maskstore_ps(p, first_lanes(n), a.low);
    if (n > 8) _mm256_maskstore_ps(p + 8, first_lanes(n - 8), a.high);
}

// A bfloat16 is the upper half of a float32.
inline __m256 widen_bits(__m128i bits) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
inline Vec16 load_bfloat16(const std::uint8_t* p) {
    return {widen_bits(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            widen_bits(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}
// AVX2 has no masked load of 16-bit numbers, so a copy is padded with zeros.
inline Vec16 load_bfloat16_first(const std::uint8_t* p, std::size_t n) {
    std::uint8_t padded[32] = {};
    __builtin_memcpy(padded, p, 2 * n);
    return load_bfloat16(padded);
}

// As in scalar.hpp, because F16C is an extension of its own. Sign extension fills bits 28 to 31 with the sign.
inline __m256 widen_float16(__m128i halves) {
    const __m256i bits = _mm256_and_si256(_mm256_slli_epi32(_mm256_cvtepi16_epi32(halves), 13),
                                          _mm256_set1_epi32(static_cast<std::int32_t>(0x8fffffff)));
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p112f));
}
inline Vec16 load_float16(const std::uint8_t* p) {
    return {widen_float16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            widen_float16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
}

inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8));
    const __m256i m = _mm256_set1_epi32(minus);
    return {_mm256_cvtepi32_ps(_mm256_sub_epi32(low, m)), _mm256_cvtepi32_ps(_mm256_sub_epi32(high, m))};
}
// The conversion rounds half to even. The first pack works on each half of a register by itself and leaves the words in
// the order low 0-3, high 0-3, low 4-7, high 4-7; the permutation 0xd8 (quarters 0, 2, 1, 3) restores 0-15.
inline void store_int8(std::int8_t* p, Vec16 a) {
    const __m256i words =
        _mm256_permute4x64_epi64(_mm256_packs_epi32(_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

inline Vec16 add(Vec16 a, Vec16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline Vec16 sub(Vec16 a, Vec16 b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline Vec16 mul(Vec16 a, Vec16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline Vec16 div(Vec16 a, Vec16 b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}

inline Part load_part(const float* p) { return _mm256_loadu_ps(p); }
inline void store_part(float* p, Part a) { _mm256_storeu_ps(p, a); }
inline Part broadcast_part(float x) { return _mm256_set1_ps(x); }
inline Part fma(Part a, Part b, Part c) { return _mm256_fmadd_ps(a, b, c); }
inline void set_part(Vec16& a, std::size_t n, Part part) { (n == 0 ? a.low : a.high) = part; }
inline Part in_register(Part a) {
    asm("" : "+x"(a));
    return a;
}

inline Vec16 max(Vec16 a, Vec16 b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline Vec16 min(Vec16 a, Vec16 b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline std::uint32_t not_below(Vec16 a, Vec16 b) {
    const int low = _mm256_movemask_ps(_mm256_cmp_ps(a.low, b.low, _CMP_NLT_UQ));
    const int high = _mm256_movemask_ps(_mm256_cmp_ps(a.high, b.high, _CMP_NLT_UQ));
    return static_cast<std::uint32_t>(low | high << 8);
}
inline Vec16 abs(Vec16 a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline Vec16 round_even(Vec16 a) {
    constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.low, kMode), _mm256_round_ps(a.high, kMode)};
}
inline __m256 scale_by_power(__m256 a, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent));
}
inline Vec16 scale_by_power(Vec16 a, Vec16 n) { return {scale_by_power(a.low, n.low), scale_by_power(a.high, n.high)}; }

inline float sum(Vec16 a) { return sum_of_eight(_mm256_add_ps(a.low, a.high)); }

// After two steps each vector has 4 lanes left: f0 .. f3. The other two steps work on pairs of vectors at once:
//
//     unpacklo(f0, f1)   f0[0] f1[0] f0[1] f1[1]
//     unpackhi(f0, f1)   f0[2] f1[2] f0[3] f1[3]     their sum is lane l + lane l + 2 of both
//     movelh, movehl     lane 0 of all four, lane 1 of all four
inline __m128 fold_to_four(Vec16 a) { return fold_to_four(_mm256_add_ps(a.low, a.high)); }
inline void sum4(const Vec16 (&a)[4], float* out) {
    const __m128 f0 = fold_to_four(a[0]), f1 = fold_to_four(a[1]);
    const __m128 f2 = fold_to_four(a[2]), f3 = fold_to_four(a[3]);
    const __m128 two01 = _mm_add_ps(_mm_unpacklo_ps(f0, f1), _mm_unpackhi_ps(f0, f1));
    const __m128 two23 = _mm_add_ps(_mm_unpacklo_ps(f2, f3), _mm_unpackhi_ps(f2, f3));
    _mm_storeu_ps(out, _mm_add_ps(_mm_movelh_ps(two01, two23), _mm_movehl_ps(two23, two01)));
}
// After one step each vector has 8 lanes left, and those of the same key of a and b are joined: the next step leaves
// the 4 lanes of a and the 4 of b in one register. The other steps are those of sum4 above, in both halves.
inline __m256 fold_both(Vec16 a, Vec16 b) {
    const __m256 x = _mm256_add_ps(a.low, a.high), y = _mm256_add_ps(b.low, b.high);
    return _mm256_add_ps(_mm256_permute2f128_ps(x, y, 0x20), _mm256_permute2f128_ps(x, y, 0x31));
}
inline void sum4(const Vec16 (&a)[4], const Vec16 (&b)[4], float* out_a, float* out_b) {
    const __m256 f0 = fold_both(a[0], b[0]), f1 = fold_both(a[1], b[1]);
    const __m256 f2 = fold_both(a[2], b[2]), f3 = fold_both(a[3], b[3]);
    const __m256 two01 = _mm256_add_ps(_mm256_unpacklo_ps(f0, f1), _mm256_unpackhi_ps(f0, f1));
    const __m256 two23 = _mm256_add_ps(_mm256_unpacklo_ps(f2, f3), _mm256_unpackhi_ps(f2, f3));
    const __m256 sums = _mm256_add_ps(_mm256_shuffle_ps(two01, two23, 0x44), _mm256_shuffle_ps(two01, two23, 0xee));
    _mm_storeu_ps(out_a, _mm256_castps256_ps128(sums));
    _mm_storeu_ps(out_b, _mm256_extractf128_ps(sums, 1));
}
inline float largest(Vec16 a) {
    const __m256 eight = _mm256_max_ps(a.low, a.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace
}  // namespace bitnet
