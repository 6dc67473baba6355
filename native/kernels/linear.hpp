// BitLinear and the output head over the integer product and the Vec16 in scope.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// The integer product's unit of work: up to 16 byte rows (64 outputs) against up to kTokenTile tokens, so that the
// activations of a tile stay in the first-level cache while all rows of the block pass by.
constexpr std::size_t kBlockRows = 16;
using CodeSums = std::int32_t[kTokenTile][4][kBlockRows];

// sum(code * x) of byte rows, as codes[token][i][row].
inline void dot_block(const TernaryMatrix& weight, std::size_t row, std::size_t rows, const Activations& x,
                      std::size_t token, std::size_t tokens, CodeSums& codes) {
    const std::int8_t* values = x.values + token * x.stride;
    const std::size_t bytes = row_bytes(weight);
    const std::uint8_t* w = weight.packed + row * bytes;
#ifdef BITNET_DENSE
    if (weight.form == TernaryForm::dense)
        return with_count<kTokenTile>(tokens, [&](auto count) {
            for (std::size_t r = 0; r < rows; ++r)
                dot_dense_row<decltype(count)::value>(w + r * bytes, weight.in, values, x.stride, &codes[0][0][r]);
        });
#endif
    with_count<kTokenTile>(tokens, [&](auto count) {
        for (std::size_t r = 0; r < rows; ++r)
            dot_row<decltype(count)::value>(w + r * bytes, weight.in, values, x.stride, &codes[0][0][r]);
    });
}

// Calls body(token, tokens) for tiles of at most kMost tokens, of nearly equal size.
template <std::size_t kMost, typename Body>
inline void for_each_tile(std::size_t tokens, Body body) {
    const std::size_t tiles = (tokens + kMost - 1) / kMost;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
        const std::size_t begin = tokens * tile / tiles;
        body(begin, tokens * (tile + 1) / tiles - begin);
    }
}

// Calls body(row, rows, token, tokens) for every block and tile.
template <typename Body>
inline void for_each_block(std::size_t first, std::size_t last, std::size_t tokens, Body body) {
    for (std::size_t row = first; row < last; row += kBlockRows) {
        const std::size_t rows = last - row < kBlockRows ? last - row : kBlockRows;
        for_each_tile<kTokenTile>(tokens, [&](std::size_t token, std::size_t count) { body(row, rows, token, count); });
    }
}

// y = float(acc) * (w / s), with acc = sum(code * x) - sum(x) because code = T + 1.
inline Vec16 dequantize(const std::int32_t* codes, const TernaryMatrix& weight, const Activations& x,
                        std::size_t token) {
    return mul(load_difference(codes, x.sums[token]), broadcast(weight.scale / x.scales[token]));
}

// y = join(what was there, product), for the outputs of byte rows first..last.
template <typename Join>
inline void multiply(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
                     std::size_t out_stride, Join join) {
    CodeSums codes = {};
    for_each_block(first, last, x.tokens,
                   [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens) {
                       dot_block(weight, row, rows, x, token, tokens, codes);
                       for (std::size_t t = 0; t < tokens; ++t) {
                           for (std::size_t i = 0; i < fields_of(weight.form); ++i) {
                               const std::size_t output = i * byte_rows(weight) + row;
                               if (output >= weight.out) break;
                               const std::size_t lanes = weight.out - output < rows ? weight.out - output : rows;
                               float* y = out + (token + t) * out_stride + output;
                               const Vec16 product = dequantize(codes[t][i], weight, x, token + t);
                               store_lanes(y, join(load_lanes(y, lanes), product), lanes);
                           }
                       }
                   });
}

void linear(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
            std::size_t out_stride) {
    multiply(weight, x, first, last, out, out_stride, [](Vec16, Vec16 product) { return product; });
}

void linear_add(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
                std::size_t out_stride) {
    multiply(weight, x, first, last, out, out_stride, [](Vec16 y, Vec16 product) { return add(y, product); });
}

// One after the other, as each is one stream of addresses.
void gate_up(const TernaryMatrix& gate, const Activations& gate_x, const TernaryMatrix& up, const Activations& up_x,
             HiddenAct act, std::size_t first, std::size_t last, float* out, std::size_t out_stride) {
    multiply(gate, gate_x, first, last, out, out_stride, [&](Vec16, Vec16 product) { return activate(product, act); });
    multiply(up, up_x, first, last, out, out_stride, [](Vec16 y, Vec16 product) { return mul(y, product); });
}

constexpr std::size_t kHeadRows = 4;
// 32 registers hold 24 sums, the weights and a token; 8 rows by 3 tokens was slower.
constexpr std::size_t kHeadTokens = kAccumulators == 16 ? 6 : kAccumulators / kHeadRows;

// Up to kHeadRows weight rows against kTokens tokens. `ahead` is how many bytes after the first row the next rows
// begin, which are fetched; 0 if they are not known.
template <std::size_t kTokens>
inline void logits_tile(const std::uint8_t* const (&row)[kHeadRows], std::size_t in, std::size_t rows,
                        std::size_t ahead, const float* x, std::size_t x_stride, float* out, std::size_t out_stride) {
    Vec16 sums[kTokens][kHeadRows] = {};
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        if (ahead != 0) {  // memory is fastest in the order of addresses
            __builtin_prefetch(row[0] + ahead + kHeadRows * 2 * i);
            __builtin_prefetch(row[0] + ahead + kHeadRows * 2 * i + 64);
        }
        Vec16 w[kHeadRows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < kHeadRows; ++r) {
            w[r] = load_bfloat16_lanes(row[r] + 2 * i, lanes);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < kTokens; ++t) {
            const Vec16 v = load_lanes(x + t * x_stride + i, lanes);
            BITNET_UNROLL
            for (std::size_t r = 0; r < kHeadRows; ++r) sums[t][r] = fma(v, w[r], sums[t][r]);
        }
    });
    BITNET_UNROLL
    for (std::size_t t = 0; t < kTokens; ++t) {
        float dots[4];
        sum4(sums[t], dots);
        for (std::size_t r = 0; r < rows; ++r) out[t * out_stride + r] = dots[r];
    }
}

void logits(const std::uint8_t* weights, std::size_t in, std::size_t rows, const float* x, std::size_t x_stride,
            std::size_t tokens, float* out, std::size_t out_stride) {
    for (std::size_t begin = 0; begin < rows; begin += kHeadRows) {
        const std::size_t count = rows - begin < kHeadRows ? rows - begin : kHeadRows;
        const std::uint8_t* row[kHeadRows];
        for (std::size_t r = 0; r < kHeadRows; ++r) row[r] = weights + (begin + (r < count ? r : 0)) * 2 * in;
        for_each_tile<kHeadTokens>(tokens, [&](std::size_t token, std::size_t tile) {
            with_count<kHeadTokens>(tile, [&](auto n) {
                logits_tile<decltype(n)::value>(row, in, count, kHeadRows * 2 * in, x + token * x_stride, x_stride,
                                                out + token * out_stride + begin, out_stride);
            });
        });
    }
}

void logits_of(const std::uint8_t* const* rows, std::size_t in, std::size_t count, const float* x, float* out) {
    const std::uint8_t* row[kHeadRows];
    for (std::size_t r = 0; r < kHeadRows; ++r) row[r] = rows[r < count ? r : 0];
    logits_tile<1>(row, in, count, 0, x, 0, out, 0);
}

}  // namespace
}  // namespace bitnet
