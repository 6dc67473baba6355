// Vec16 in plain C++: what the other three must equal. Builtins rather than <cmath>: see kernels.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

struct Vec16 {
    float lane[16];
};

constexpr int kAccumulators = 4;

template <typename Op>
inline Vec16 each(Op op) {
    Vec16 result;
    for (int l = 0; l < 16; ++l) result.lane[l] = op(l);
    return result;
}

inline Vec16 broadcast(float x) {
    return each([&](int) { return x; });
}
inline Vec16 zero() { return broadcast(0.0f); }
inline Vec16 load_first(const float* p, std::size_t n) {
    Vec16 result = zero();
    __builtin_memcpy(result.lane, p, 4 * n);
    return result;
}
inline Vec16 load(const float* p) { return load_first(p, 16); }
inline void store_first(float* p, Vec16 a, std::size_t n) { __builtin_memcpy(p, a.lane, 4 * n); }
inline void store(float* p, Vec16 a) { store_first(p, a, 16); }

inline Vec16 load_bfloat16_first(const std::uint8_t* p, std::size_t n) {
    std::uint16_t halves[16] = {};
    __builtin_memcpy(halves, p, 2 * n);
    return each([&](int l) {
        const std::uint32_t bits = static_cast<std::uint32_t>(halves[l]) << 16;
        float value;
        __builtin_memcpy(&value, &bits, 4);
        return value;
    });
}
inline Vec16 load_bfloat16(const std::uint8_t* p) { return load_bfloat16_first(p, 16); }

inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    return each([&](int l) { return static_cast<float>(p[l] - minus); });
}
inline void store_int8(std::int8_t* p, Vec16 a) {
    for (int l = 0; l < 16; ++l) p[l] = static_cast<std::int8_t>(__builtin_rintf(a.lane[l]));
}

inline Vec16 add(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] + b.lane[l]; });
}
inline Vec16 sub(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] - b.lane[l]; });
}
inline Vec16 mul(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] * b.lane[l]; });
}
inline Vec16 div(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] / b.lane[l]; });
}
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return each([&](int l) { return __builtin_fmaf(a.lane[l], b.lane[l], c.lane[l]); });
}
inline Vec16 max(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]; });
}
inline Vec16 min(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]; });
}
inline std::uint32_t not_below(Vec16 a, Vec16 b) {
    std::uint32_t lanes = 0;
    for (int l = 0; l < 16; ++l) lanes |= static_cast<std::uint32_t>(!(a.lane[l] < b.lane[l])) << l;
    return lanes;
}
inline Vec16 abs(Vec16 a) {
    return each([&](int l) { return __builtin_fabsf(a.lane[l]); });
}
inline Vec16 round_even(Vec16 a) {
    return each([&](int l) { return __builtin_rintf(a.lane[l]); });
}
inline Vec16 scale_by_power(Vec16 a, Vec16 n) {
    return each([&](int l) {
        std::uint32_t bits;
        __builtin_memcpy(&bits, &a.lane[l], 4);
        bits += static_cast<std::uint32_t>(static_cast<std::int32_t>(n.lane[l])) << 23;
        float value;
        __builtin_memcpy(&value, &bits, 4);
        return value;
    });
}
inline float square_root(float x) { return __builtin_sqrtf(x); }

inline float sum(Vec16 a) {
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) a.lane[l] += a.lane[l + half];
    return a.lane[0];
}
inline void sum4(const Vec16 (&a)[4], float* out) {
    for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
}
inline float largest(Vec16 a) {
    float result = a.lane[0];
    for (float lane : a.lane) result = lane > result ? lane : result;
    return result;
}

}  // namespace
}  // namespace bitnet
