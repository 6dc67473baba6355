// The screen of the output head: bounds of logits from a copy of the weights in 6 bits, over the Vec16 in scope.
//
// A row w of the table becomes codes of 6 bits, w ~ (2 * code - 63) * half_step. By Cauchy and Schwarz no logit is
// further from what the codes give than |w - codes| * |x| for the weights' rounding and |w| * |x - quantised x| for the
// input's, which is next to nothing if that is quantised twice, the second time what the first left.
//
// Four rows are packed into a row of bytes, three for each column; of 64 columns first the 64 first bytes. The low bits
// of the three are the codes of rows 0 to 2, their top bits the code of row 3, most significant first.
#pragma once

#include "kernels/linear.hpp"

namespace bitnet {
namespace {

// More than float32 rounding of the norms, estimates and bounds takes away.
constexpr float kScreenExcess = 1.0001f;
// More than what is lost of a bound below float32's normal range.
constexpr float kScreenTiny = 1e-36f;

// Codes of a row, one a byte, for steps that reach so far. Norms are summed in units of a step, in which no square is
// lost to float32's range.
inline ScreenRow screen_codes(const std::uint8_t* bits, std::size_t in, float reach, std::uint8_t* codes) {
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
        if (lanes < 16) {  // w is zero beyond them, but not its error
            float part[16];
            store(part, error);
            error = load_first(part, lanes);
        }
        squares = fma(w, w, squares);
        errors = fma(error, error, errors);
    });
    const float unit = kScreenExcess * step;
    return {0.5f * step, unit * square_root(sum(errors)), unit * square_root(sum(squares))};
}

// With steps that reach the greatest weight, or that do not quite and are finer: whichever is nearer.
inline ScreenRow screen_codes(const std::uint8_t* bits, std::size_t in, std::uint8_t* codes) {
    Vec16 largest_of_lanes = zero();
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        largest_of_lanes = max(abs(load_bfloat16_lanes(bits + 2 * i, lanes)), largest_of_lanes);
    });
    const float absmax = largest(largest_of_lanes);
    const ScreenRow wide = screen_codes(bits, in, absmax, codes), fine = screen_codes(bits, in, 0.9f * absmax, codes);
    return fine.error < wide.error ? fine : screen_codes(bits, in, absmax, codes);
}

void screen_pack(const std::uint8_t* const (&weights)[4], std::size_t in, std::uint8_t* codes, std::uint8_t* bytes,
                 ScreenRow (&rows)[4]) {
    const std::size_t stride = (in + 63) / 64 * 64;
    __builtin_memset(codes, 0, 4 * stride);
    for (std::size_t field = 0; field < 4; ++field) {
        rows[field] = {};
        if (weights[field] != nullptr) rows[field] = screen_codes(weights[field], in, codes + field * stride);
    }
    const std::uint8_t *a = codes, *b = a + stride, *c = b + stride, *d = c + stride;
    for (std::size_t column = 0; column < stride; column += 64, bytes += 3 * 64) {
        for (std::size_t i = 0; i < 64; ++i) {
            const unsigned top = d[column + i];
            bytes[i] = static_cast<std::uint8_t>(a[column + i] | (top >> 4) << 6);
            bytes[64 + i] = static_cast<std::uint8_t>(b[column + i] | (top >> 2) << 6);
            bytes[128 + i] = static_cast<std::uint8_t>(c[column + i] | top << 6);
        }
    }
}

// What a block's logits come to by the codes and by `sums` of those times values whose own sum is `sum`.
inline Vec16 screen_estimate(const ScreenBlock& block, std::size_t i, const ScreenSums& sums, std::int32_t sum,
                             float unit) {
    std::int32_t doubles[kBlockRows];
    for (std::size_t r = 0; r < kBlockRows; ++r) doubles[r] = 2 * sums[i][r];
    return mul(mul(load_difference(doubles, 63 * sum), load(block.half_steps + 16 * i)), broadcast(unit));
}

// What exponentials of a block's logits but those reached sum up to at most.
inline float screened_out(const ScreenBounds& bounds, const ScreenQuery& query) {
    if (query.inverse_temperature == 0.0f || ~bounds.reached == 0) return 0.0f;
    float powers[4 * kBlockRows];
    for (std::size_t i = 0; i < 4 * kBlockRows; i += 16)
        store(powers + i, exponential(mul(sub(load(bounds.upper + i), broadcast(query.best)),
                                          broadcast(query.inverse_temperature))));
    for (std::uint64_t left = bounds.reached; left != 0; left &= left - 1) powers[__builtin_ctzll(left)] = 0.0f;
    Vec16 total = zero();
    for (std::size_t i = 0; i < 4 * kBlockRows; i += 16) total = add(load(powers + i), total);
    return kScreenExcess * sum(total);
}

void screen_bounds(const ScreenBlock& block, const Activations& x, std::size_t tokens, const ScreenQuery* queries,
                   ScreenSums* sums, ScreenBounds* bounds) {
    for (std::size_t r = 0; r < block.rows; ++r) {
        for_each_tile<kTokenTile>(x.tokens, [&](std::size_t token, std::size_t count) {
            with_count<kTokenTile>(count, [&](auto n) {
                dot_screen_row<decltype(n)::value>(block.bytes + r * 3 * x.stride, x.stride,
                                                   x.values + token * x.stride, x.stride, &sums[token][0][r]);
            });
        });
    }
    for (std::size_t t = 0; t < tokens; ++t) {
        const ScreenQuery& query = queries[t];
        ScreenBounds& out = bounds[t];
        out.reached = out.likely = 0;
        for (std::size_t i = 0; i < 4; ++i) {
            Vec16 estimate = screen_estimate(block, i, sums[t], x.sums[t], query.unit);
            if (x.tokens > tokens) {
                const std::size_t fine = tokens + t;
                estimate = add(estimate, screen_estimate(block, i, sums[fine], x.sums[fine], query.fine_unit));
            }
            const Vec16 error = fma(load(block.errors + 16 * i), broadcast(query.norm),
                                    mul(load(block.norms + 16 * i), broadcast(query.rounding)));
            const Vec16 bound = add(estimate, add(error, broadcast(kScreenTiny)));
            store(out.upper + i * kBlockRows, bound);
            const Vec16 threshold = broadcast(query.threshold);
            out.reached |= std::uint64_t{not_below(bound, threshold)} << i * kBlockRows;
            out.likely |= std::uint64_t{not_below(estimate, threshold)} << i * kBlockRows;
        }
        out.rest = screened_out(out, query);
    }
}

}  // namespace
}  // namespace bitnet
