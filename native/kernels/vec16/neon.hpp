// Vec16 for NEON: four registers of 4 lanes. vec16/scalar.hpp says what each function computes.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

struct Vec16 {
    float32x4_t q[4];  // q[i] holds lanes 4 * i .. 4 * i + 3
};

// 4 accumulators take 16 of the 32 registers; the rest is for operands.
constexpr int kAccumulators = 4;

using Part = float32x4_t;
constexpr std::size_t kParts = 4, kPartLanes = 4, kPartAccumulators = 16;

// Applies `op` to each register. Calls with constant numbers rather than a loop, so that the vectors stay in registers.
template <typename Op>
inline Vec16 each(Op op) {
    return {{op(0), op(1), op(2), op(3)}};
}

inline Vec16 broadcast(float x) {
    return each([&](int) { return vdupq_n_f32(x); });
}
inline Vec16 zero() { return broadcast(0.0f); }
inline Vec16 load(const float* p) {
    return each([&](int i) { return vld1q_f32(p + 4 * i); });
}
// NEON has no masked loads and stores: those of part of a vector go through a copy.
inline Vec16 load_first(const float* p, std::size_t n) {
    float padded[16] = {};
    __builtin_memcpy(padded, p, 4 * n);
    return load(padded);
}
inline void store(float* p, Vec16 a) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.q[i]);
}
inline void store_first(float* p, Vec16 a, std::size_t n) {
    float lanes[16];
    store(lanes, a);
    __builtin_memcpy(p, lanes, 4 * n);
}

// A bfloat16 is the upper half of a float32.
inline Vec16 load_bfloat16(const std::uint8_t* p) {
    return each([&](int i) {
        const uint16x4_t bits = vreinterpret_u16_u8(vld1_u8(p + 8 * i));
        return vreinterpretq_f32_u32(vshll_n_u16(bits, 16));
    });
}
inline Vec16 load_bfloat16_first(const std::uint8_t* p, std::size_t n) {
    std::uint8_t padded[32] = {};
    __builtin_memcpy(padded, p, 2 * n);
    return load_bfloat16(padded);
}

inline Vec16 load_float16(const std::uint8_t* p) {
    return each([&](int i) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * i))); });
}

inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    return each([&](int i) { return vcvtq_f32_s32(vsubq_s32(vld1q_s32(p + 4 * i), vdupq_n_s32(minus))); });
}
inline void store_int8(std::int8_t* p, Vec16 a) {
    const int16x4_t w0 = vmovn_s32(vcvtnq_s32_f32(a.q[0])), w1 = vmovn_s32(vcvtnq_s32_f32(a.q[1]));
    const int16x4_t w2 = vmovn_s32(vcvtnq_s32_f32(a.q[2])), w3 = vmovn_s32(vcvtnq_s32_f32(a.q[3]));
    vst1q_s8(p, vcombine_s8(vmovn_s16(vcombine_s16(w0, w1)), vmovn_s16(vcombine_s16(w2, w3))));
}

inline Vec16 add(Vec16 a, Vec16 b) {
    return each([&](int i) { return vaddq_f32(a.q[i], b.q[i]); });
}
inline Vec16 sub(Vec16 a, Vec16 b) {
    return each([&](int i) { return vsubq_f32(a.q[i], b.q[i]); });
}
inline Vec16 mul(Vec16 a, Vec16 b) {
    return each([&](int i) { return vmulq_f32(a.q[i], b.q[i]); });
}
inline Vec16 div(Vec16 a, Vec16 b) {
    return each([&](int i) { return vdivq_f32(a.q[i], b.q[i]); });
}
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return each([&](int i) { return vfmaq_f32(c.q[i], a.q[i], b.q[i]); });
}

inline Part load_part(const float* p) { return vld1q_f32(p); }
inline void store_part(float* p, Part a) { vst1q_f32(p, a); }
inline Part broadcast_part(float x) { return vdupq_n_f32(x); }
inline Part fma(Part a, Part b, Part c) { return vfmaq_f32(c, a, b); }
inline void set_part(Vec16& a, std::size_t n, Part part) { a.q[n] = part; }
inline Part in_register(Part a) {
    asm("" : "+w"(a));
    return a;
}

// Compare and select. FMAX and FMIN would be one instruction, but return NaN where either operand is one.
inline Vec16 max(Vec16 a, Vec16 b) {
    return each([&](int i) { return vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); });
}
inline Vec16 min(Vec16 a, Vec16 b) {
    return each([&](int i) { return vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]); });
}
// vbic clears the bits of lanes where a < b, and vaddv joins the bits that are left.
inline std::uint32_t not_below(Vec16 a, Vec16 b) {
    const uint32x4_t bits = {1, 2, 4, 8};
    std::uint32_t lanes = 0;
    for (int i = 0; i < 4; ++i) lanes |= vaddvq_u32(vbicq_u32(bits, vcltq_f32(a.q[i], b.q[i]))) << 4 * i;
    return lanes;
}
inline Vec16 abs(Vec16 a) {
    return each([&](int i) { return vabsq_f32(a.q[i]); });
}
inline Vec16 round_even(Vec16 a) {
    return each([&](int i) { return vrndnq_f32(a.q[i]); });
}
inline Vec16 scale_by_power(Vec16 a, Vec16 n) {
    return each([&](int i) {
        const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(n.q[i]), 23);
        return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a.q[i]), exponent));
    });
}
inline float square_root(float x) { return __builtin_sqrtf(x); }

// Lanes l + 8 are two registers further on, lanes l + 4 one.
inline float32x4_t fold_to_four(Vec16 a) { return vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3])); }
inline float sum(Vec16 a) {
    const float32x4_t four = fold_to_four(a);
    return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}
inline void sum4(const Vec16 (&a)[4], float* out) {
    for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
}
inline void sum4(const Vec16 (&a)[4], const Vec16 (&b)[4], float* out_a, float* out_b) {
    sum4(a, out_a);
    sum4(b, out_b);
}
inline float largest(Vec16 a) {
    float lanes[16];
    store(lanes, a);
    float result = lanes[0];
    for (float lane : lanes) result = lane > result ? lane : result;
    return result;
}

}  // namespace
}  // namespace bitnet
