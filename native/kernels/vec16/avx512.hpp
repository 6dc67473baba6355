// Vec16 for AVX-512: one register of 16 lanes. vec16/scalar.hpp says what each function computes.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/vec16/x86.hpp"

namespace bitnet {
namespace {

struct Vec16 {
    __m512 v;
};

// 16 of the 32 registers; the rest is for operands.
constexpr int kAccumulators = 16;

using Part = __m512;
constexpr std::size_t kParts = 1, kPartLanes = 16, kPartAccumulators = 16;

// A mask of the first n lanes. Masked loads and stores touch no memory beyond them.
inline __mmask16 first_lanes(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec16 zero() { return {_mm512_setzero_ps()}; }
inline Vec16 broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec16 load_first(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
inline void store(float* p, Vec16 a) { _mm512_storeu_ps(p, a.v); }
inline void store_first(float* p, Vec16 a, std::size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), a.v); }

// A bfloat16 is the upper half of a float32.
inline Vec16 widen_bits(__m256i bits) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec16 load_bfloat16(const std::uint8_t* p) {
    return widen_bits(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec16 load_bfloat16_first(const std::uint8_t* p, std::size_t n) {
    return widen_bits(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

inline Vec16 load_float16(const std::uint8_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}

inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    return {_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(minus)))};
}
// The conversion to int32 rounds half to even.
inline void store_int8(std::int8_t* p, Vec16 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

inline Vec16 add(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec16 sub(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec16 mul(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec16 div(Vec16 a, Vec16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

inline Part load_part(const float* p) { return _mm512_loadu_ps(p); }
inline void store_part(float* p, Part a) { _mm512_storeu_ps(p, a); }
inline Part broadcast_part(float x) { return _mm512_set1_ps(x); }
inline Part fma(Part a, Part b, Part c) { return _mm512_fmadd_ps(a, b, c); }
inline void set_part(Vec16& a, std::size_t, Part part) { a.v = part; }
inline Part in_register(Part a) {
    asm("" : "+v"(a));
    return a;
}

inline Vec16 max(Vec16 a, Vec16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec16 min(Vec16 a, Vec16 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline std::uint32_t not_below(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ); }
inline Vec16 abs(Vec16 a) { return {_mm512_abs_ps(a.v)}; }
inline Vec16 round_even(Vec16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
inline Vec16 scale_by_power(Vec16 a, Vec16 n) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), exponent))};
}

inline float sum(Vec16 a) {
    return sum_of_eight(_mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1)));
}

// Each step halves the lanes of the four vectors, so that two, then four of them fit one register. Quarters of a
// register (4 lanes), where 0[8] is a quarter of vector 0 while it still has 8 lanes:
//
//     eight01   0[8] 0[8] 1[8] 1[8]      lane l + lane l + 8
//     eight23   2[8] 2[8] 3[8] 3[8]
//     four      0[4] 1[4] 2[4] 3[4]      lane l + lane l + 4
//     two, one  within each quarter      lane l + lane l + 2, then lane 0 + lane 1
//
// The sum of vector i is then in every lane of quarter i; `firsts` takes lanes 0, 4, 8 and 12.
inline void sum4(const Vec16 (&a)[4], float* out) {
    const __m512 eight01 =
        _mm512_add_ps(_mm512_shuffle_f32x4(a[0].v, a[1].v, 0x44), _mm512_shuffle_f32x4(a[0].v, a[1].v, 0xee));
    const __m512 eight23 =
        _mm512_add_ps(_mm512_shuffle_f32x4(a[2].v, a[3].v, 0x44), _mm512_shuffle_f32x4(a[2].v, a[3].v, 0xee));
    const __m512 four =
        _mm512_add_ps(_mm512_shuffle_f32x4(eight01, eight23, 0x88), _mm512_shuffle_f32x4(eight01, eight23, 0xdd));
    const __m512 two = _mm512_add_ps(four, _mm512_permute_ps(four, 0x4e));
    const __m512 one = _mm512_add_ps(two, _mm512_permute_ps(two, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm_storeu_ps(out, _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, one)));
}
inline void sum4(const Vec16 (&a)[4], const Vec16 (&b)[4], float* out_a, float* out_b) {
    sum4(a, out_a);
    sum4(b, out_b);
}
// The order of comparisons does not matter, as `largest` takes no NaN.
inline float largest(Vec16 a) { return _mm512_reduce_max_ps(a.v); }

}  // namespace
}  // namespace bitnet
