// Vec16, a vector of 16 float32 lanes, in plain C++. This file is the definition: each function says here what it
// computes, and vec16/avx512.hpp, avx2.hpp and neon.hpp must give the same bits with their own instructions.
//
// Why 16 lanes everywhere: the order of float additions decides the last bits of a sum. AVX-512 has 16 lanes in a
// register; AVX2 takes two registers of 8, NEON four of 4, and this file an array. All then add the same numbers in the
// same order. The float kernels (elementwise.hpp, linear.hpp, attention.hpp, screen.hpp) are written once over these
// functions, and each instruction set compiles them with the Vec16 that it included before.
//
// Builtins replace <cmath> and <cstring>: kernels.hpp says why no file here calls the standard library.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {
namespace {

struct Vec16 {
    float lane[16];
};

// How many sums of type Vec16 a float kernel keeps at once. It decides how many loads are shared and never a result.
constexpr int kAccumulators = 4;

// The lanes of a Vec16 that one register holds. Kernels that use each loaded number for several sums work on one part
// after the other, since all sums of whole vectors would not have registers. Here it is the whole vector.
using Part = Vec16;
constexpr std::size_t kParts = 1, kPartLanes = 16;
constexpr std::size_t kPartAccumulators = 4;  // how many sums of one part are kept at once

// Fills lane l with op(l).
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

// `x_first(p, n)` reads or writes only the first n of 16 elements; the other lanes of a loaded vector are zeros. No
// load or store asks for alignment.
inline Vec16 load_first(const float* p, std::size_t n) {
    Vec16 result = zero();
    __builtin_memcpy(result.lane, p, 4 * n);
    return result;
}
inline Vec16 load(const float* p) { return load_first(p, 16); }
inline void store_first(float* p, Vec16 a, std::size_t n) { __builtin_memcpy(p, a.lane, 4 * n); }
inline void store(float* p, Vec16 a) { store_first(p, a, 16); }

// bfloat16 numbers, 2 bytes each, low byte first, to float32. A bfloat16 is the upper half of a float32, so that the
// conversion is a shift by 16 bits and exact.
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

// float16 numbers, 2 bytes each, low byte first, to float32: exact. Not for infinity and NaN. A float16 has 5 bits of
// exponent (bias 15) and 10 of mantissa; a float32 has 8 (bias 127) and 23. With the exponent field moved as it is, the
// number is 2^112 times too small, also where it is subnormal.
inline Vec16 load_float16(const std::uint8_t* p) {
    std::uint16_t halves[16];
    __builtin_memcpy(halves, p, 32);
    return each([&](int l) {
        const std::uint32_t half = halves[l], bits = (half & 0x8000) << 16 | (half & 0x7fff) << 13;
        float value;
        __builtin_memcpy(&value, &bits, 4);
        return value * 0x1p112f;
    });
}

// float32(p[l] - minus). The subtraction is of int32 and exact; only the conversion may round, half to even.
inline Vec16 load_difference(const std::int32_t* p, std::int32_t minus) {
    return each([&](int l) { return static_cast<float>(p[l] - minus); });
}
// Rounds half to even. All 16 lanes must be in -128..127, where no instruction set's conversion saturates.
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
// a * b + c, rounded once.
inline Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return each([&](int l) { return __builtin_fmaf(a.lane[l], b.lane[l], c.lane[l]); });
}

inline Part load_part(const float* p) { return load(p); }
inline void store_part(float* p, Part a) { store(p, a); }
inline Part broadcast_part(float x) { return broadcast(x); }
inline void set_part(Vec16& a, std::size_t, Part part) { a = part; }
// Keeps a number that was loaded in a register: a compiler may load it again for each use, which takes longer.
inline Part in_register(Part a) { return a; }

// `a > b ? a : b` and `a < b ? a : b`: the second operand wins where the two are not comparable. So a NaN in `a` is
// dropped, and max(a, maximum so far) never becomes NaN. This is what x86's MAXPS and MINPS do.
inline Vec16 max(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] > b.lane[l] ? a.lane[l] : b.lane[l]; });
}
inline Vec16 min(Vec16 a, Vec16 b) {
    return each([&](int l) { return a.lane[l] < b.lane[l] ? a.lane[l] : b.lane[l]; });
}
// Bit l is set if not a[l] < b[l]. NaN is not below anything, so a screen passes every logit whose bound is NaN.
inline std::uint32_t not_below(Vec16 a, Vec16 b) {
    std::uint32_t lanes = 0;
    for (int l = 0; l < 16; ++l) lanes |= static_cast<std::uint32_t>(!(a.lane[l] < b.lane[l])) << l;
    return lanes;
}
inline Vec16 abs(Vec16 a) {
    return each([&](int l) { return __builtin_fabsf(a.lane[l]); });
}
// Rounds half to even.
inline Vec16 round_even(Vec16 a) {
    return each([&](int l) { return __builtin_rintf(a.lane[l]); });
}
// a * 2^n for integers n that keep the result normal: n is added to the exponent, which begins at bit 23.
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

// Adds the lanes pairwise: l + (l + 8), then l + (l + 4), l + (l + 2), 0 + 1. Any instruction set can do that by
// halving registers, and the order of the two operands of an addition does not change its result.
inline float sum(Vec16 a) {
    for (int half = 8; half > 0; half /= 2)
        for (int l = 0; l < half; ++l) a.lane[l] += a.lane[l + half];
    return a.lane[0];
}
// out[i] = sum(a[i]). One function, because AVX-512 sums four vectors with 14 instructions where four sums take 32.
inline void sum4(const Vec16 (&a)[4], float* out) {
    for (int i = 0; i < 4; ++i) out[i] = sum(a[i]);
}
// The sums of four vectors a and of four vectors b.
inline void sum4(const Vec16 (&a)[4], const Vec16 (&b)[4], float* out_a, float* out_b) {
    sum4(a, out_a);
    sum4(b, out_b);
}
// The maximum of the lanes, which must not be NaN.
inline float largest(Vec16 a) {
    float result = a.lane[0];
    for (float lane : a.lane) result = lane > result ? lane : result;
    return result;
}

}  // namespace
}  // namespace bitnet
