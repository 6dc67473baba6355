// Vec16 for AVX-512: one register.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

struct Vec16 {
    __m512 v;
};

// How many Vec16 accumulators the float kernels hold at once.
constexpr int kAccumulators = 16;

inline __mmask16 first_lanes(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1); }

inline Vec16 zero() { return {_mm512_setzero_ps()}; }
inline Vec16 broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec16 load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec16 load_first(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
inline void store(float* p, Vec16 a) { _mm512_storeu_ps(p, a.v); }
inline void store_first(float* p, Vec16 a, std::size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), a.v); }

inline Vec16 widen_bits(__m256i bits) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec16 load_bfloat16(const std::uint8_t* p) {
    return widen_bits(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline Vec16 load_bfloat16_first(const std::uint8_t* p, std::size_t n) {
    return widen_bits(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

// float32(p[l] - minus), the integers subtracted exactly.
inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    return {_mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_loadu_si512(p), _mm512_set1_epi32(minus)))};
}
// Rounds half to even; the values must be in -128..127.
inline void store_int8(std::int8_t* p, Vec16 a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
}

inline Vec16 add(Vec16 a, Vec16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec16 sub(Vec16 a, Vec16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec16 mul(Vec16 a, Vec16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec16 div(Vec16 a, Vec16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// a > b ? a : b, also for NaN, as MAXPS does.
inline Vec16 max(Vec16 a, Vec16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline Vec16 min(Vec16 a, Vec16 b) { return {_mm512_min_ps(a.v, b.v)}; }
// A bit for each lane that is not below the other, or not comparable.
inline std::uint32_t not_below(Vec16 a, Vec16 b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_NLT_UQ); }
inline Vec16 abs(Vec16 a) { return {_mm512_abs_ps(a.v)}; }
inline Vec16 round_even(Vec16 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// a * 2^n for integers n that keep the result normal.
inline Vec16 scale_by_power(Vec16 a, Vec16 n) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), exponent))};
}
inline float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

inline __m128 fold_to_four(Vec16 a) {
    const __m256 high = _mm512_extractf32x8_ps(a.v, 1);
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a.v), high);
    return _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
}
inline float sum(Vec16 a) {
    const __m128 four = fold_to_four(a);
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// The sums of four vectors at once.
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
inline float largest(Vec16 a) { return _mm512_reduce_max_ps(a.v); }

}  // namespace
}  // namespace bitnet
