// The screen of the output head: bounds of logits from a copy of the weights in 4 or 6 bits, over the Vec16 in scope.
//
// A row w of the table becomes codes of 6 bits, w ~ (code - 31.5) * step, cut into three planes of 2 bits that are
// packed as ternary weights are, so that dot_block multiplies them too. By Cauchy and Schwarz no logit is further from
// what the codes give than |w - codes| * |x| for the weights' rounding and |w| * |x - quantised x| for the input's.
#pragma once

#include "kernels/linear.hpp"

namespace bitnet {
namespace {

// More than float32 rounding of the norms, estimates and bounds takes away.
constexpr float kScreenExcess = 1.0001f;
// More than what is lost of a bound below float32's normal range.
constexpr float kScreenTiny = 1e-36f;

// Codes of a row, one a byte. Norms are summed in units of a step, in which no square is lost to float32's range.
inline ScreenRow screen_codes(const std::uint8_t* bits, std::size_t in, std::uint8_t* codes) {
    const auto weights = [&](std::size_t i, std::size_t lanes) BITNET_INLINE {
        return lanes == 16 ? load_bfloat16(bits + 2 * i) : load_bfloat16_first(bits + 2 * i, lanes);
    };
    Vec16 largest_of_lanes = zero();
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        largest_of_lanes = max(abs(weights(i, lanes)), largest_of_lanes);
    });
    const float absmax = largest(largest_of_lanes);
    const float step = (absmax > 1e-30f ? absmax : 1e-30f) / 31.5f;
    const Vec16 inverse = broadcast(1.0f / step), middle = broadcast(31.5f);
    Vec16 squares = zero(), coarse = zero(), fine = zero();
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        const Vec16 w = mul(weights(i, lanes), inverse);
        const Vec16 code = min(max(round_even(add(w, middle)), zero()), broadcast(63.0f));
        const Vec16 high = round_even(fma(code, broadcast(0.25f), broadcast(-0.375f)));  // code / 4, rounded down
        std::int8_t values[16];
        store_int8(values, code);
        __builtin_memcpy(codes + i, values, lanes);
        Vec16 coarse_error = sub(w, fma(high, broadcast(4.0f), broadcast(-30.0f))), error = sub(w, sub(code, middle));
        if (lanes < 16) {  // w is zero beyond them, but not its error
            float part[16];
            store(part, coarse_error);
            coarse_error = load_first(part, lanes);
            store(part, error);
            error = load_first(part, lanes);
        }
        squares = fma(w, w, squares);
        coarse = fma(coarse_error, coarse_error, coarse);
        fine = fma(error, error, fine);
    });
    const float unit = kScreenExcess * step;
    return {step, unit * square_root(sum(coarse)), unit * square_root(sum(fine)), unit * square_root(sum(squares))};
}

// Bits 2k and 2k + 1 of four rows of codes as a byte row of a plane.
template <int k>
inline void pack_plane(const std::uint8_t* codes, std::size_t in, std::uint8_t* plane) {
    const std::uint8_t *a = codes, *b = a + in, *c = b + in, *d = c + in;
    for (std::size_t i = 0; i < in; ++i) {
        const unsigned bits =
            (a[i] >> 2 * k & 3u) | (b[i] >> 2 * k & 3u) << 2 | (c[i] >> 2 * k & 3u) << 4 | (d[i] >> 2 * k & 3u) << 6;
        plane[i] = static_cast<std::uint8_t>(bits);
    }
}

void screen_pack(const std::uint8_t* const (&weights)[4], std::size_t in, std::uint8_t* codes,
                 std::uint8_t* const (&planes)[3], ScreenRow (&rows)[4]) {
    for (std::size_t field = 0; field < 4; ++field) {
        rows[field] = {};
        if (weights[field] != nullptr) {
            rows[field] = screen_codes(weights[field], in, codes + field * in);
        } else {
            __builtin_memset(codes + field * in, 0, in);
        }
    }
    pack_plane<2>(codes, in, planes[0]);
    pack_plane<1>(codes, in, planes[1]);
    pack_plane<0>(codes, in, planes[2]);
}

// Bounds of a block's logits for one token, from sums of `sums[i][r] = multiple * code * x` over the columns.
inline Vec16 upper_bounds(const ScreenBlock& block, std::size_t i, const std::int32_t* sums, std::int32_t minus,
                          float unit, const float* errors, const ScreenQuery& query) {
    const Vec16 estimate = mul(mul(load_difference(sums, minus), load(block.steps + 16 * i)), broadcast(unit));
    const Vec16 rounding =
        fma(load(errors + 16 * i), broadcast(query.norm), mul(load(block.norms + 16 * i), broadcast(query.rounding)));
    return add(estimate, add(rounding, broadcast(kScreenTiny)));
}

// What exponentials of a block's logits, none of interest, sum up to at most.
inline float screened_out(const Vec16 (&bounds)[4], const ScreenQuery& query) {
    if (query.inverse_temperature == 0.0f) return 0.0f;
    Vec16 total = zero();
    for (const Vec16& bound : bounds)
        total = add(exponential(mul(sub(bound, broadcast(query.best)), broadcast(query.inverse_temperature))), total);
    return kScreenExcess * sum(total);
}

std::size_t screen_bounds(const ScreenBlock& block, std::size_t in, const Activations& x, const ScreenQuery* queries,
                          float* upper, bool* possible, float* rest) {
    CodeSums high = {}, low = {};
    const std::size_t plane = block.rows * in;
    std::size_t planes_read = 2;
    for_each_block(0, block.rows, x.tokens, [&](std::size_t, std::size_t rows, std::size_t token, std::size_t tokens) {
        const std::int8_t* values = x.values + token * x.stride;
        // Whether the bounds of a token, by `codes * multiple - offset` in units of `step`, reach its threshold.
        const auto judge = [&](std::size_t t, std::int32_t multiple, std::int32_t offset, float step,
                               const float* errors) BITNET_INLINE {
            const ScreenQuery& query = queries[token + t];
            Vec16 bounds[4], most = broadcast(-__builtin_inff());
            for (std::size_t i = 0; i < 4; ++i) {
                std::int32_t sums[kBlockRows];
                for (std::size_t r = 0; r < kBlockRows; ++r) {
                    high[t][i][r] = 4 * high[t][i][r] + low[t][i][r];
                    sums[r] = multiple * high[t][i][r];
                }
                bounds[i] = upper_bounds(block, i, sums, offset * x.sums[token + t], step * query.unit, errors, query);
                store(upper + ((token + t) * 4 + i) * kBlockRows, bounds[i]);
                most = max(bounds[i], most);
            }
            possible[token + t] = largest(most) >= query.threshold;
            if (!possible[token + t]) rest[token + t] = screened_out(bounds, query);
            return possible[token + t];
        };
        dot_block(block.planes, in, rows, values, x.stride, tokens, &high[0][0][0]);
        dot_block(block.planes + plane, in, rows, values, x.stride, tokens, &low[0][0][0]);
        bool any = false;
        // w ~ (4 * code of 4 bits - 30) * step
        for (std::size_t t = 0; t < tokens; ++t) any = judge(t, 4, 30, 1.0f, block.coarse_errors) || any;
        if (!any) return;
        planes_read = 3;
        dot_block(block.planes + 2 * plane, in, rows, values, x.stride, tokens, &low[0][0][0]);
        // w ~ (2 * code of 6 bits - 63) * step / 2
        for (std::size_t t = 0; t < tokens; ++t)
            if (possible[token + t]) judge(t, 2, 63, 0.5f, block.errors);
    });
    return planes_read * plane;
}

}  // namespace
}  // namespace bitnet
