// The screen of the output head: bounds of logits from a copy of the weights in 4 or 6 bits, over the Vec16 in scope.
//
// A row w of the table becomes codes of 6 bits, w ~ (code - 31.5) * step, cut into three planes of 2 bits that are
// packed as ternary weights are, so that dot_row multiplies them too. By Cauchy and Schwarz no logit is further from
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

// What exponentials of a block's logits but those `reached` sum up to at most.
inline float screened_out(const Vec16 (&bounds)[4], std::uint64_t reached, const ScreenQuery& query) {
    if (query.inverse_temperature == 0.0f || ~reached == 0) return 0.0f;
    float powers[4 * kBlockRows];
    for (std::size_t i = 0; i < 4; ++i)
        store(powers + i * kBlockRows,
              exponential(mul(sub(bounds[i], broadcast(query.best)), broadcast(query.inverse_temperature))));
    for (std::uint64_t left = reached; left != 0; left &= left - 1) powers[__builtin_ctzll(left)] = 0.0f;
    Vec16 total = zero();
    for (std::size_t i = 0; i < 4; ++i) total = add(load(powers + i * kBlockRows), total);
    return kScreenExcess * sum(total);
}

// How the codes at hand make a weight: (multiple * code - offset) * step, where the block says `step` in units of its
// own.
struct ScreenForm {
    std::int32_t multiple, offset;
    float step;
};
constexpr ScreenForm kCoarse = {4, 30, 1.0f}, kFine = {2, 63, 0.5f};

// The bounds of a block's logits for one token, from sums[i][r] of its codes times the values, whose own sum is `sum`.
inline void screen_token(const ScreenBlock& block, const ScreenForm& form, const float* errors,
                         const std::int32_t (&sums)[4][kBlockRows], std::int32_t sum, const ScreenQuery& query,
                         ScreenBounds& out) {
    Vec16 bounds[4];
    out.reached = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        std::int32_t multiples[kBlockRows];
        for (std::size_t r = 0; r < kBlockRows; ++r) multiples[r] = form.multiple * sums[i][r];
        bounds[i] = upper_bounds(block, i, multiples, form.offset * sum, form.step * query.unit, errors, query);
        store(out.upper + i * kBlockRows, bounds[i]);
        out.reached |= std::uint64_t{not_below(bounds[i], broadcast(query.threshold))} << i * kBlockRows;
    }
    out.rest = screened_out(bounds, out.reached, query);
}

// For a tile of tokens: the last plane is multiplied only if the two before it leave a logit possible. Returns how many
// were.
inline std::size_t screen_few(const ScreenBlock& block, std::size_t in, const Activations& x, std::size_t token,
                              std::size_t tokens, const ScreenQuery* queries, ScreenBounds* bounds) {
    CodeSums codes = {}, low = {};
    const auto append = [&](std::size_t plane) {
        dot_block(block.planes + plane * block.rows * in, in, block.rows, x, token, tokens, low);
        for (std::size_t t = 0; t < tokens; ++t)
            for (std::size_t i = 0; i < 4; ++i)
                for (std::size_t r = 0; r < kBlockRows; ++r) codes[t][i][r] = 4 * codes[t][i][r] + low[t][i][r];
    };
    const auto screen = [&](std::size_t t, const ScreenForm& form, const float* errors) {
        screen_token(block, form, errors, codes[t], x.sums[token + t], queries[token + t], bounds[token + t]);
    };
    append(0);
    append(1);
    std::uint64_t reached = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
        screen(t, kCoarse, block.coarse_errors);
        reached |= bounds[token + t].reached;
    }
    if (reached == 0) return 2;
    append(2);
    for (std::size_t t = 0; t < tokens; ++t)
        if (bounds[token + t].reached != 0) screen(t, kFine, block.errors);
    return 3;
}

// A byte row of the planes as four rows of codes of 6 bits, one a byte, `stride` bytes apart; eight columns at a time,
// in words whose bytes the masks keep apart.
inline void unpack_codes(const std::uint8_t* first, std::size_t plane, std::size_t in, std::size_t stride,
                         std::uint8_t* __restrict codes) {
    constexpr std::uint64_t kBytes = 0x0101010101010101, kLow = 0x03 * kBytes, kMiddle = 0x0c * kBytes,
                            kHigh = 0x30 * kBytes;
    const auto unpack = [&](std::size_t column, std::size_t bytes) BITNET_INLINE {
        std::uint64_t a = 0, b = 0, c = 0;
        __builtin_memcpy(&a, first + column, bytes);
        __builtin_memcpy(&b, first + plane + column, bytes);
        __builtin_memcpy(&c, first + 2 * plane + column, bytes);
        const std::uint64_t fields[4] = {(a << 4 & kHigh) | (b << 2 & kMiddle) | (c & kLow),
                                         (a << 2 & kHigh) | (b & kMiddle) | (c >> 2 & kLow),
                                         (a & kHigh) | (b >> 2 & kMiddle) | (c >> 4 & kLow),
                                         (a >> 2 & kHigh) | (b >> 4 & kMiddle) | (c >> 6 & kLow)};
        BITNET_UNROLL
        for (std::size_t i = 0; i < 4; ++i) __builtin_memcpy(codes + i * stride + column, &fields[i], bytes);
    };
    const std::size_t whole = in / 8 * 8;
    for (std::size_t column = 0; column < whole; column += 8) unpack(column, 8);
    if (whole < in) unpack(whole, in - whole);
}

// For many tokens: all planes at once, unpacked once for all of them.
inline void screen_many(const ScreenBlock& block, std::size_t in, const Activations& x, const ScreenQuery* queries,
                        const ScreenScratch& scratch, ScreenBounds* bounds) {
    for (std::size_t r = 0; r < block.rows; ++r) {
        unpack_codes(block.planes + r * in, block.rows * in, in, x.stride, scratch.codes);
        for_each_tile<kTokenTile>(x.tokens, [&](std::size_t token, std::size_t tokens) {
            with_count<kTokenTile>(tokens, [&](auto count) {
                dot_byte_rows<decltype(count)::value>(scratch.codes, x.stride, x.values + token * x.stride, x.stride,
                                                      &scratch.sums[token][0][r]);
            });
        });
    }
    for (std::size_t t = 0; t < x.tokens; ++t)
        screen_token(block, kFine, block.errors, scratch.sums[t], x.sums[t], queries[t], bounds[t]);
}

// For so many tokens memory is the limit, and to unpack takes longer than it saves.
constexpr std::size_t kFewTokens = 3;

std::size_t screen_bounds(const ScreenBlock& block, std::size_t in, const Activations& x, const ScreenQuery* queries,
                          const ScreenScratch& scratch, ScreenBounds* bounds) {
    std::size_t planes = 3;
    if (x.tokens > kFewTokens) {
        screen_many(block, in, x, queries, scratch, bounds);
    } else {
        planes = 0;
        for_each_tile<kTokenTile>(x.tokens, [&](std::size_t token, std::size_t tokens) {
            const std::size_t read = screen_few(block, in, x, token, tokens, queries, bounds);
            planes = read > planes ? read : planes;
        });
    }
    return planes * block.rows * in;
}

}  // namespace
}  // namespace bitnet
