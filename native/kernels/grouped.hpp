// Products of ternary weights that have a scale for each group of columns of a row (64 or 128), and of activations
// that are quantised in the same groups. docs/numerics.md defines them:
//
//     acc_g = sum(q * T) over the columns of group g              exact in int32
//     y     = sum over g of float(acc_g) * (w_g * u_g)            w_g: the weights' scale; u_g = 1 / s_g
//
// float32, in the order of the groups, one fused multiply-add each, from y = 0. w_g * u_g is rounded once. All outputs
// are independent of one another, so 16 rows in the lanes of a Vec16 give these bits on every instruction set.
//
// 16 rows are stored together, group by group, so that one core reads one stream of addresses:
//
//     byte row r, group g      16 float16 scales of rows 16 * r .. 16 * r + 15
//                              then 64 bytes for each 16 columns: a 32-bit word for each row
//     word of a row            byte k    bits 7 6 | 5 4 | 3 2 | 1 0
//                              field           3  |  2  |  1  |  0     field i of byte k is column 4 * k + i
//
// The word is as Q2_0 files have it; only the order of the words differs. A register of codes of field i has columns i,
// 4 + i, 8 + i and 12 + i of each row. So activations are stored in that order: the 4 x 4 bytes of 16 columns are
// transposed. Rows beyond `out` have the scale 0.
#pragma once

#include "kernels/elementwise.hpp"

namespace bitnet {
namespace {

// Tokens that are multiplied at once. AVX2 has 16 registers: 2 a token for sums, and 2 of bytes, 2 of codes, a token's
// values, a product and the mask.
constexpr std::size_t kGroupTokens = 4;

// 16 outputs, of byte row `row`, for kTokens tokens from `token` on: y = join(the old y, product).
template <std::size_t kTokens, typename Join>
BITNET_NOINLINE void multiply_grouped(const TernaryMatrix& weight, const Activations& x, std::size_t row,
                                      std::size_t token, float* out, std::size_t out_stride, Join join) {
    const std::size_t group = weight.group, groups = weight.in / group, bytes = group_bytes(group);
    const std::uint8_t* w = weight.packed + row * groups * bytes;
    const std::int8_t* values = x.values + token * x.stride;
    const float* units = x.scales + token * groups;
    const std::int32_t* sums = x.sums + token * groups;
    Vec16 y[kTokens] = {};
    for (std::size_t g = 0; g < groups; ++g, w += bytes, values += group) {
        std::int32_t code_sums[kTokens][kBlockRows];
        dot_group<kTokens>(w + 2 * kBlockRows, group, values, x.stride, code_sums[0]);
        const Vec16 scales = load_float16(w);
        BITNET_UNROLL
        for (std::size_t t = 0; t < kTokens; ++t) {
            const Vec16 scale = mul(scales, broadcast(units[t * groups + g]));
            y[t] = fma(load_difference(code_sums[t], sums[t * groups + g]), scale, y[t]);
        }
    }
    const std::size_t output = row * kBlockRows;
    const std::size_t lanes = weight.out - output < kBlockRows ? weight.out - output : kBlockRows;
    for (std::size_t t = 0; t < kTokens; ++t) {
        float* to = out + (token + t) * out_stride + output;
        store_lanes(to, join(load_lanes(to, lanes), y[t]), lanes);
    }
}

void widen_grouped(const TernaryMatrix& weight, std::size_t row, float* out) {
    const std::size_t group = weight.group, lane = row % kBlockRows;
    const std::uint8_t* w = weight.packed + row / kBlockRows * row_bytes(weight);
    for (std::size_t begin = 0; begin < weight.in; begin += group, w += group_bytes(group)) {
        float scales[kBlockRows];
        store(scales, load_float16(w));
        for (std::size_t i = 0; i < group; ++i) {
            const std::uint8_t byte = w[2 * kBlockRows + i / 16 * 64 + 4 * lane + i % 16 / 4];
            out[begin + i] = static_cast<float>((byte >> (2 * (i % 4)) & 3) - 1) * scales[lane];
        }
    }
}

// Transposes 4 x 4 bytes: byte 4 * k + i goes to 4 * i + k.
inline void transpose_bytes(std::int8_t* bytes) {
    std::uint32_t row[4];
    __builtin_memcpy(row, bytes, 16);
    constexpr std::uint32_t kEven = 0x00ff00ff, kOdd = 0xff00ff00;
    const std::uint32_t even01 = (row[0] & kEven) | (row[1] & kEven) << 8;  // columns 0 and 2 of rows 0 and 1
    const std::uint32_t odd01 = (row[0] & kOdd) >> 8 | (row[1] & kOdd);     // columns 1 and 3
    const std::uint32_t even23 = (row[2] & kEven) | (row[3] & kEven) << 8;
    const std::uint32_t odd23 = (row[2] & kOdd) >> 8 | (row[3] & kOdd);
    const std::uint32_t column[4] = {(even01 & 0xffff) | even23 << 16, (odd01 & 0xffff) | odd23 << 16,
                                     even01 >> 16 | (even23 & 0xffff0000), odd01 >> 16 | (odd23 & 0xffff0000)};
    __builtin_memcpy(bytes, column, 16);
}

void quantize_groups(const float* x, std::size_t n, std::size_t group, std::int8_t* values, float* units,
                     std::int32_t* sums) {
    for (std::size_t begin = 0; begin < n; begin += group, ++units, ++sums) {
        float scale;
        quantize(x + begin, group, values + begin, &scale, sums);
        *units = 1.0f / scale;
        for (std::size_t i = begin; i < begin + group; i += 16) transpose_bytes(values + i);
    }
}

}  // namespace
}  // namespace bitnet
