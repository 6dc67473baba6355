// The screen: upper bounds of all logits from a 6-bit copy of the lm_head. Only rows whose bound reaches the threshold
// are then computed from the bfloat16 weights, so the lm_head is mostly read in 6 bits instead of 16 and no result
// changes (docs/decisions/0007). Written once over the dot_screen_row and the Vec16 that an instruction set has defined
// before.
//
// A row w becomes 6-bit codes 0..63 with a step of its own: w ~ w' = (2 * code - 63) * half_step. The activations x are
// quantised to x' as for any linear. The estimate w'.x' comes from an integer product. The logit w.x differs from it by
// (w - w').x' + w.(x - x'), which Cauchy and Schwarz bound by the norms:
//
//     |w.x - w'.x'|  <=  |w - w'| * |x'|  +  |w| * |x - x'|
//                        error * norm        norm * rounding      (of the ScreenRow * of the ScreenQuery)
//
// `norm` is |x| + |x - x'|, which bounds |x'|. `rounding` also includes what float32 sums can lose. If x - x' is
// quantised once more (the fine values) and added to x', |x - x'| nearly vanishes.
//
// Four rows share a byte row of three bytes a column, a, b and c. Their low six bits are the codes of rows 0, 1 and 2,
// their top two bits the code of row 3:
//
//     bit     7   6     5   4   3   2   1   0
//     a      3.5 3.4   0.5 0.4 0.3 0.2 0.1 0.0        3.5 means bit 5 of the code of row 3
//     b      3.3 3.2   1.5 1.4 1.3 1.2 1.1 1.0
//     c      3.1 3.0   2.5 2.4 2.3 2.2 2.1 2.0
//
// In memory, 64 columns are 192 bytes: 64 bytes a, 64 bytes b, 64 bytes c. So a register of bytes is loaded at once,
// and a thread reads one stream of addresses.
#pragma once

#include "kernels/linear.hpp"
#include "kernels/noise.hpp"

namespace bitnet {
namespace {

// Factor on norms. It is larger than all that their computation in float32 can lose.
constexpr float kScreenSlack = 1.0001f;
// Added to a bound. It is larger than what products below float32's smallest normal number, 1.2e-38, can lose.
constexpr float kScreenUnderflow = 1e-36f;

// Computes the codes of a row, one a byte, for a step whose codes span -reach..reach; larger weights are clamped. The
// norms are summed in units of a step, so that no square is too small or too large for float32.
inline ScreenRow encode_screen_row(const std::uint8_t* bits, std::size_t in, float reach, std::uint8_t* codes) {
    const float step = (reach > 1e-30f ? reach : 1e-30f) / 31.5f;
    const Vec16 inverse = broadcast(1.0f / step), middle = broadcast(31.5f);
    Vec16 squares = zero(), errors = zero();
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        const Vec16 w = mul(load_bfloat16_lanes(bits + 2 * i, lanes), inverse);
        const Vec16 code = min(max(round_even(add(w, middle)), zero()), broadcast(63.0f));
        std::int8_t values[16];
        store_int8(values, code);
        __builtin_memcpy(codes + i, values, lanes);
        Vec16 error = sub(w, sub(code, middle));
        if (lanes < 16) {  // lanes beyond the row are zeros, but their error is not, as no code stands for zero
            float part[16];
            store(part, error);
            error = load_first(part, lanes);
        }
        squares = fma(w, w, squares);
        errors = fma(error, error, errors);
    });
    const float unit = kScreenSlack * step;
    return {0.5f * step, unit * square_root(sum(errors)), unit * square_root(sum(squares))};
}

// The same with the better of two steps. One spans up to the row's largest weight. The other spans only 0.9 of it: it
// clamps the largest weights, but is finer for all others. The smaller error of the whole row wins.
inline ScreenRow encode_screen_row(const std::uint8_t* bits, std::size_t in, std::uint8_t* codes) {
    Vec16 lane_maxima = zero();
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        lane_maxima = max(abs(load_bfloat16_lanes(bits + 2 * i, lanes)), lane_maxima);
    });
    const float absmax = largest(lane_maxima);
    const ScreenRow whole = encode_screen_row(bits, in, absmax, codes);
    const ScreenRow clamped = encode_screen_row(bits, in, 0.9f * absmax, codes);
    return clamped.error < whole.error ? clamped : encode_screen_row(bits, in, absmax, codes);
}

void screen_pack(const std::uint8_t* const (&weights)[4], std::size_t in, std::uint8_t* codes, std::uint8_t* bytes,
                 ScreenRow (&rows)[4]) {
    const std::size_t stride = (in + 63) / 64 * 64;
    __builtin_memset(codes, 0, 4 * stride);
    for (std::size_t field = 0; field < 4; ++field) {
        rows[field] = {};
        if (weights[field] != nullptr) rows[field] = encode_screen_row(weights[field], in, codes + field * stride);
    }
    const std::uint8_t *a = codes, *b = a + stride, *c = b + stride, *d = c + stride;
    for (std::size_t column = 0; column < stride; column += 64, bytes += 3 * 64) {
        for (std::size_t i = 0; i < 64; ++i) {
            const unsigned split = d[column + i];  // two bits to each byte
            bytes[i] = static_cast<std::uint8_t>(a[column + i] | (split >> 4) << 6);
            bytes[64 + i] = static_cast<std::uint8_t>(b[column + i] | (split >> 2) << 6);
            bytes[128 + i] = static_cast<std::uint8_t>(c[column + i] | split << 6);
        }
    }
}

// The estimates w'.x' of the 16 rows of one field: sum((2 * code - 63) * value) * half_step * unit. `value_sum` is the
// sum of the values. The integers are exact: for activations of at most 127, 2 * 63 * 127 * in stays below 2^31 for up
// to 134,000 columns.
inline Vec16 screen_estimate(const ScreenBlock& block, std::size_t field, const ScreenSums& sums,
                             std::int32_t value_sum, float unit) {
    std::int32_t doubles[kBlockRows];
    for (std::size_t r = 0; r < kBlockRows; ++r) doubles[r] = 2 * sums[field][r];
    return mul(mul(load_difference(doubles, 63 * value_sum), load(block.half_steps + field * kBlockRows)),
               broadcast(unit));
}

void screen_bounds(const ScreenBlock& block, const Activations& x, std::size_t tokens, const ScreenQuery* queries,
                   ScreenSums* sums, ScreenBounds* bounds) {
    // One byte row at a time against all rows of activations, so that it is read from memory once.
    for (std::size_t r = 0; r < block.rows; ++r) {
        for_each_tile<kTokenTile>(x.tokens, [&](std::size_t token, std::size_t count) {
            with_count<kTokenTile>(count, [&](auto n) {
                dot_screen_row<decltype(n)::value>(block.bytes + r * 3 * x.stride, x.stride,
                                                   x.values + token * x.stride, x.stride, &sums[token][0][r]);
            });
        });
    }
    // Then the bounds, 16 rows (one field) at a time: bound = estimate + error * |x'| + norm * rounding.
    for (std::size_t t = 0; t < tokens; ++t) {
        const ScreenQuery& query = queries[t];
        ScreenBounds& out = bounds[t];
        out.reached = out.likely = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            Vec16 estimate = screen_estimate(block, i, sums[t], x.sums[t], query.unit);
            if (x.tokens > tokens) {  // there are fine values
                const std::size_t fine = tokens + t;
                estimate = add(estimate, screen_estimate(block, i, sums[fine], x.sums[fine], query.fine_unit));
            }
            const Vec16 error = fma(load(block.errors + i * kBlockRows), broadcast(query.norm),
                                    mul(load(block.norms + i * kBlockRows), broadcast(query.rounding)));
            const Vec16 bound = add(estimate, add(error, broadcast(kScreenUnderflow)));
            store(out.upper + i * kBlockRows, bound);
            const Vec16 threshold = broadcast(query.threshold);
            out.reached |= std::uint64_t{not_below(bound, threshold)} << i * kBlockRows;
            out.likely |= std::uint64_t{not_below(estimate, threshold)} << i * kBlockRows;
            if (query.noise.scale == 0.0f) continue;
            const Vec16 noise = bound_noise(query.noise, block.ids[i]), least = broadcast(query.score_threshold);
            const Vec16 score = add(bound, noise);
            store(out.scores + i * kBlockRows, score);
            out.reached |= std::uint64_t{not_below(score, least)} << i * kBlockRows;
            out.likely |= std::uint64_t{not_below(add(estimate, noise), least)} << i * kBlockRows;
        }
    }
}

}  // namespace
}  // namespace bitnet
