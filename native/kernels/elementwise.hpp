// Float kernels that work element by element or on one row: norm, quantiser, rotary positions, exponential. Written
// once over the Vec16 that an instruction set has included before.
#pragma once

#include "kernels/kernels.hpp"

namespace bitnet {
namespace {

// Calls body(offset, lanes) for each group of 16 elements. `lanes` is 16 for all but the last group, which may be
// shorter. The body is inlined twice, and the copy for 16 lanes has no mask.
template <typename Body>
inline void for_each_16(std::size_t n, Body body) {
    std::size_t i = 0;
    for (; i + 16 <= n; i += 16) body(i, std::size_t{16});
    if (i < n) body(i, n - i);
}
inline Vec16 load_lanes(const float* p, std::size_t n) { return n == 16 ? load(p) : load_first(p, n); }
inline Vec16 load_bfloat16_lanes(const std::uint8_t* p, std::size_t n) {
    return n == 16 ? load_bfloat16(p) : load_bfloat16_first(p, n);
}
inline void store_lanes(float* p, Vec16 a, std::size_t n) { n == 16 ? store(p, a) : store_first(p, a, n); }

// exp(x) to 1 or 2 units in the last place, the same bits on every instruction set; a library's exp would differ
// between them. The method and the coefficients are those of Cephes' expf:
//
//     exp(x) = 2^n * exp(r), n = rint(x / ln 2), r = x - n * ln 2, so |r| <= 0.35
//     exp(r) = 1 + r + r^2 * p(r), p of degree 5
//
// ln 2 is subtracted in two parts. 0.693359375 has so few bits that n times it is exact. It is larger than ln 2 by
// 2.12194440e-4, which is added again. x is clamped to -87..88, where 2^n and the result are normal numbers.
inline Vec16 exponential(Vec16 x) {
    x = min(max(x, broadcast(-87.0f)), broadcast(88.0f));
    const Vec16 n = round_even(mul(x, broadcast(1.44269504f)));
    Vec16 r = fma(n, broadcast(-0.693359375f), x);
    r = fma(n, broadcast(2.12194440e-4f), r);
    Vec16 p = broadcast(1.9875691500e-4f);
    p = fma(p, r, broadcast(1.3981999507e-3f));
    p = fma(p, r, broadcast(8.3334519073e-3f));
    p = fma(p, r, broadcast(4.1665795894e-2f));
    p = fma(p, r, broadcast(1.6666665459e-1f));
    p = fma(p, r, broadcast(5.0000001201e-1f));
    p = fma(p, mul(r, r), add(r, broadcast(1.0f)));
    return scale_by_power(p, n);
}

// relu(gate)^2, or silu(gate) = gate / (1 + exp(-gate)).
inline Vec16 activate(Vec16 gate, HiddenAct act) {
    if (act == HiddenAct::relu2) {
        const Vec16 positive = max(gate, zero());
        return mul(positive, positive);
    }
    const Vec16 one = broadcast(1.0f);
    return div(gate, add(one, exponential(sub(zero(), gate))));
}

void gate(const float* up, HiddenAct act, std::size_t n, float* y) {
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        store_lanes(y + i, mul(activate(load_lanes(y + i, lanes), act), load_lanes(up + i, lanes)), lanes);
    });
}

void widen(const std::uint8_t* bits, std::size_t n, float* out) {
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        store_lanes(out + i, load_bfloat16_lanes(bits + 2 * i, lanes), lanes);
    });
}

// x is divided by the root, not multiplied with its reciprocal: an approximate reciprocal square root has other bits on
// each instruction set, while square root and division are correctly rounded everywhere.
void rmsnorm(const float* x, const float* gain, float eps, std::size_t n, float* out) {
    Vec16 squares = zero();
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        const Vec16 v = load_lanes(x + i, lanes);
        squares = fma(v, v, squares);
    });
    const Vec16 root = broadcast(square_root(sum(squares) / static_cast<float>(n) + eps));
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        const Vec16 unit = div(load_lanes(x + i, lanes), root);
        store_lanes(out + i, mul(load_lanes(gain + i, lanes), unit), lanes);
    });
}

// Three passes over a row that the first-level cache holds: the largest absolute value, the values, their sum.
void quantize(const float* x, std::size_t n, std::int8_t* values, float* scale, std::int32_t* sum_of_values) {
    Vec16 lane_maxima = zero();
    for_each_16(
        n, [&](std::size_t i, std::size_t lanes) { lane_maxima = max(abs(load_lanes(x + i, lanes)), lane_maxima); });
    const float absmax = largest(lane_maxima);
    *scale = 127.0f / (absmax > 1e-5f ? absmax : 1e-5f);
    const Vec16 s = broadcast(*scale);
    // The contract says clip(rint(x * s)). Clamping first gives the same, as the limits are integers. It also keeps NaN
    // and numbers outside int8 from the conversion, where instruction sets differ. The last group writes 16 bytes too:
    // its other lanes are zeros and inside the padding.
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        const Vec16 scaled = mul(load_lanes(x + i, lanes), s);
        store_int8(values + i, min(max(scaled, broadcast(-128.0f)), broadcast(127.0f)));
    });
    const std::size_t padded = (n + 63) / 64 * 64;
    for (std::size_t i = (n + 15) / 16 * 16; i < padded; ++i) values[i] = 0;
    *sum_of_values = sum_int8(values, padded);
}

// Element i and element i + half are one pair, rotated by the angle of cos[i] and sin[i].
void rope(const float* x, const float* cos, const float* sin, std::size_t half, float* out) {
    for_each_16(half, [&](std::size_t i, std::size_t lanes) {
        const Vec16 c = load_lanes(cos + i, lanes), s = load_lanes(sin + i, lanes);
        const Vec16 first = load_lanes(x + i, lanes), second = load_lanes(x + half + i, lanes);
        store_lanes(out + i, sub(mul(first, c), mul(second, s)), lanes);
        store_lanes(out + half + i, add(mul(second, c), mul(first, s)), lanes);
    });
}

}  // namespace
}  // namespace bitnet
