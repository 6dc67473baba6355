// Matrix products: BitLinear from the integer products, and the logits in bfloat16. Written once over the dot_row and
// the Vec16 that an instruction set has defined before.
//
// BitLinear, from activations q (int8, one scale s a token) and codes c = T + 1:
//
//     acc = sum(q * T) = sum(c * q) - sum(q)      exact in int32
//     y   = float(acc) * (weight.scale / s)       |acc| <= 127 * in is below 2^24 up to 132,104 columns: exact too
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/grouped.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// The unit of work is a block of up to kBlockRows byte rows (64 outputs) against a tile of up to kTokenTile tokens. A
// tile's activations stay in the first-level cache while they are multiplied by all byte rows of the block.
using CodeSums = std::int32_t[kTokenTile][4][kBlockRows];

// Fills code_sums[token][field][byte row] with sum(code * value), for `rows` byte rows from `row` on.
inline void dot_block(const TernaryMatrix& weight, std::size_t row, std::size_t rows, const Activations& x,
                      std::size_t token, std::size_t tokens, CodeSums& code_sums) {
    const std::int8_t* values = x.values + token * x.stride;
    const std::size_t bytes = row_bytes(weight);
    const std::uint8_t* w = weight.packed + row * bytes;
#ifdef BITNET_DENSE
    if (weight.form == TernaryForm::dense)
        return with_count<kTokenTile>(tokens, [&](auto count) {
            for (std::size_t r = 0; r < rows; ++r)
                dot_dense_row<decltype(count)::value>(w + r * bytes, weight.in, values, x.stride, &code_sums[0][0][r]);
        });
#endif
    with_count<kTokenTile>(tokens, [&](auto count) {
        for (std::size_t r = 0; r < rows; ++r)
            dot_row<decltype(count)::value>(w + r * bytes, weight.in, values, x.stride, &code_sums[0][0][r]);
    });
}

// Calls body(token, tokens) for tiles of at most kMax tokens. The tiles are of nearly equal size, as small ones are
// slow: 7 tokens are 3 and 4 rather than 6 and 1.
template <std::size_t kMax, typename Body>
inline void for_each_tile(std::size_t tokens, Body body) {
    const std::size_t tiles = (tokens + kMax - 1) / kMax;
    for (std::size_t tile = 0; tile < tiles; ++tile) {
        const std::size_t begin = tokens * tile / tiles;
        body(begin, tokens * (tile + 1) / tiles - begin);
    }
}

// Calls body(row, rows, token, tokens) for every block and every tile. Blocks are the outer loop, so a block's weights
// come from memory for its first tile only, and from the cache for the others.
template <typename Body>
inline void for_each_block(std::size_t first, std::size_t last, std::size_t tokens, Body body) {
    for (std::size_t row = first; row < last; row += kBlockRows) {
        const std::size_t rows = last - row < kBlockRows ? last - row : kBlockRows;
        for_each_tile<kTokenTile>(tokens, [&](std::size_t token, std::size_t count) { body(row, rows, token, count); });
    }
}

// Returns y of 16 byte rows of one field, from their code sums.
inline Vec16 dequantize(const std::int32_t* code_sums, const TernaryMatrix& weight, const Activations& x,
                        std::size_t token) {
    return mul(load_difference(code_sums, x.sums[token]), broadcast(weight.scale / x.scales[token]));
}

// y = join(the old y, product), for the outputs of byte rows first..last. The fields of a block are four runs of
// outputs, byte_rows apart. In the dense form, `out` need not be a multiple of three; then the last field has outputs
// that do not exist.
template <typename Join>
inline void multiply(const TernaryMatrix& weight, const Activations& x, std::size_t first, std::size_t last, float* out,
                     std::size_t out_stride, Join join) {
    if (weight.form == TernaryForm::grouped) {
        for (std::size_t row = first; row < last; ++row)
            for_each_tile<kGroupTokens>(x.tokens, [&](std::size_t token, std::size_t tokens) {
                with_count<kGroupTokens>(tokens, [&](auto count) {
                    multiply_grouped<decltype(count)::value>(weight, x, row, token, out, out_stride, join);
                });
            });
        return;
    }
    CodeSums code_sums = {};
    for_each_block(first, last, x.tokens,
                   [&](std::size_t row, std::size_t rows, std::size_t token, std::size_t tokens) {
                       dot_block(weight, row, rows, x, token, tokens, code_sums);
                       for (std::size_t t = 0; t < tokens; ++t) {
                           for (std::size_t i = 0; i < fields_of(weight.form); ++i) {
                               const std::size_t output = i * byte_rows(weight) + row;
                               if (output >= weight.out) break;
                               const std::size_t lanes = weight.out - output < rows ? weight.out - output : rows;
                               float* y = out + (token + t) * out_stride + output;
                               const Vec16 product = dequantize(code_sums[t][i], weight, x, token + t);
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

// Both matrices one after the other, since memory is read fastest as one stream of addresses. `out` keeps the activated
// gate between them.
void gate_up(const TernaryMatrix& gate, const Activations& gate_x, const TernaryMatrix& up, const Activations& up_x,
             HiddenAct act, std::size_t first, std::size_t last, float* out, std::size_t out_stride) {
    multiply(gate, gate_x, first, last, out, out_stride, [&](Vec16, Vec16 product) { return activate(product, act); });
    multiply(up, up_x, first, last, out, out_stride, [](Vec16 y, Vec16 product) { return mul(y, product); });
}

// Logits are float products, so their order of additions is fixed: 16 lanes, element i in lane i % 16, as everywhere.
// The tile of rows and tokens decides only how often weights and activations are loaded.
constexpr std::size_t kLogitRows = 4;
// AVX-512: 24 of 32 registers hold sums, 4 weights, 1 a token's activations; 8 rows by 3 tokens was slower. Others: 1.
constexpr std::size_t kLogitTokens = kAccumulators == 16 ? 6 : kAccumulators / kLogitRows;

// Up to kLogitRows weight rows against kTokens tokens. `ahead` is the distance in bytes from the first row to the next
// tile's rows, or 0 if it is not known.
//
// Four rows are read side by side, which are four streams of addresses; the processor prefetches those badly. So the
// loop asks for the next four rows itself, two cache lines of 64 bytes for each 4 * 32 bytes it multiplies, in the
// order of addresses.
template <std::size_t kTokens>
inline void logits_tile(const std::uint8_t* const (&row)[kLogitRows], std::size_t in, std::size_t rows,
                        std::size_t ahead, const float* x, std::size_t x_stride, float* out, std::size_t out_stride) {
    Vec16 sums[kTokens][kLogitRows] = {};
    for_each_16(in, [&](std::size_t i, std::size_t lanes) {
        if (ahead != 0) {
            prefetch(row[0], ahead + kLogitRows * 2 * i);
            prefetch(row[0], ahead + kLogitRows * 2 * i + 64);
        }
        Vec16 w[kLogitRows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < kLogitRows; ++r) {
            w[r] = load_bfloat16_lanes(row[r] + 2 * i, lanes);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < kTokens; ++t) {
            const Vec16 v = load_lanes(x + t * x_stride + i, lanes);
            BITNET_UNROLL
            for (std::size_t r = 0; r < kLogitRows; ++r) sums[t][r] = fma(v, w[r], sums[t][r]);
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
    for (std::size_t begin = 0; begin < rows; begin += kLogitRows) {
        const std::size_t count = rows - begin < kLogitRows ? rows - begin : kLogitRows;
        const std::uint8_t* row[kLogitRows];
        for (std::size_t r = 0; r < kLogitRows; ++r) row[r] = weights + (begin + (r < count ? r : 0)) * 2 * in;
        for_each_tile<kLogitTokens>(tokens, [&](std::size_t token, std::size_t tile) {
            with_count<kLogitTokens>(tile, [&](auto n) {
                logits_tile<decltype(n)::value>(row, in, count, kLogitRows * 2 * in, x + token * x_stride, x_stride,
                                                out + token * out_stride + begin, out_stride);
            });
        });
    }
}

// A tile of one token whose rows lie anywhere. Missing rows are replaced by row 0; their sums are not written.
void logits_of(const std::uint8_t* const* rows, std::size_t in, std::size_t count, const float* x, float* out) {
    const std::uint8_t* row[kLogitRows];
    for (std::size_t r = 0; r < kLogitRows; ++r) row[r] = rows[r < count ? r : 0];
    logits_tile<1>(row, in, count, 0, x, 0, out, 0);
}

}  // namespace
}  // namespace bitnet
