// The dense form of ternary weights: 5 bits for three weights, where the stored form takes 6. Several threads that
// share the memory wait for it; a sixth fewer bytes makes them faster (docs/decisions/0001).
//
// Three outputs share a byte row: byte row r of n = ceil(out / 3) holds outputs r, n + r and 2n + r. Their codes in one
// column make an index, c0 + 3 * c1 + 9 * c2, which is 0..26 and takes 5 bits.
//
// 512 columns are eight vectors of 64 indices. They are packed into five vectors of 64 bytes, named a to e. Index j of
// each vector lies in byte j of one or more of the five. An index of vectors 0 to 4 takes five bits of a byte. The
// three bits that it leaves hold parts of vectors 5 to 7 (5.0 means bit 0 of the index of vector 5):
//
//     bit      7    6    5    4    3    2    1    0
//     a       5.2  5.1  5.0  0.4  0.3  0.2  0.1  0.0
//     b       6.2  6.1  6.0  1.4  1.3  1.2  1.1  1.0
//     c       7.4  7.3  7.2  2.4  2.3  2.2  2.1  2.0
//     d       5.4  5.3  3.4  3.3  3.2  3.1  3.0  7.0
//     e       6.4  6.3  4.4  4.3  4.2  4.1  7.1  4.0
//
// The places follow from how the indices are read. vpermb looks up the low six bits of a byte in a table of 64 and
// ignores bits 6 and 7. Of the low six bits, five are the index, and the table repeats its entries so that the sixth
// does not matter. So vectors 0 to 4 need no shift and no mask: a, b and c use the table `low`, d the table `d`, e the
// table `e`. Vectors 5 to 7 take a few shifts and bitwise choices and then the table `low`.
//
// Columns beyond the last 512 take a byte each, which is the index, padded with zeros to a multiple of 64.
#pragma once

#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

// Tells linear.hpp and table.hpp that this instruction set has a dot_dense_row.
#define BITNET_DENSE

namespace bitnet {
namespace {

// The tables of vpermb: from the low six bits of a byte to the codes of three outputs, c0 | c1 << 2 | c2 << 4.
struct DenseCodes {
    alignas(64) std::uint8_t low[64];  // the index is bits 0-4
    alignas(64) std::uint8_t d[64];    // the index is bits 1-5
    alignas(64) std::uint8_t e[64];    // the index is bits 5, 4, 3, 2 and 0
};
constexpr DenseCodes make_dense_codes() {
    DenseCodes codes = {};
    for (unsigned bits = 0; bits < 64; ++bits) {
        const auto codes_of = [](unsigned index) {
            return static_cast<std::uint8_t>(index % 3 | index / 3 % 3 << 2 | index / 9 % 3 << 4);
        };
        codes.low[bits] = codes_of(bits & 31);
        codes.d[bits] = codes_of(bits >> 1);
        codes.e[bits] = codes_of(bits >> 2 << 1 | (bits & 1));
    }
    return codes;
}
constexpr DenseCodes kDenseCodes = make_dense_codes();

// Computes the indices of dense byte row `row`, one byte a column, from a matrix in the stored form. Eight columns at a
// time in a 64-bit word: the masks keep the bytes apart, and no byte of the sum exceeds 26, so nothing is carried.
inline void dense_indices(const TernaryMatrix& weight, std::size_t row, std::uint8_t* __restrict indices) {
    const std::size_t in = weight.in, quarter = weight.out / 4, third = (weight.out + 2) / 3;
    const std::uint8_t* bytes[3];
    std::uint64_t shift[3], mask[3];
    for (std::size_t field = 0; field < 3; ++field) {
        // Where `out` is no multiple of 3, the last byte rows lack outputs. Output `row` takes their place, masked.
        const std::size_t output = field * third + row < weight.out ? field * third + row : row;
        bytes[field] = weight.packed + output % quarter * in;
        shift[field] = 2 * (output / quarter);
        mask[field] = field > 0 && output == row ? 0 : 0x0303030303030303;
    }
    const auto index = [&](std::size_t i, std::size_t count) BITNET_INLINE {
        std::uint64_t code[3] = {};
        BITNET_UNROLL
        for (std::size_t field = 0; field < 3; ++field) {
            __builtin_memcpy(&code[field], bytes[field] + i, count);
            code[field] = code[field] >> shift[field] & mask[field];
        }
        const std::uint64_t sum = code[0] + 3 * code[1] + 9 * code[2];
        __builtin_memcpy(indices + i, &sum, count);
    };
    const std::size_t whole = in / 8 * 8;
    for (std::size_t i = 0; i < whole; i += 8) index(i, 8);
    if (whole < in) index(whole, in - whole);
}

void pack_dense(const TernaryMatrix& weight, std::size_t first, std::size_t last, std::uint8_t* indices,
                std::uint8_t* dense) {
    const std::size_t in = weight.in;
    for (std::size_t row = first; row < last; ++row) {
        dense_indices(weight, row, indices);
        const std::uint8_t* index = indices;
        std::uint8_t* out = dense + row * dense_row_bytes(in);
        for (; index < indices + in / kDenseColumns * kDenseColumns; index += kDenseColumns, out += kDenseBytes) {
            for (std::size_t i = 0; i < 64; ++i) {
                // vN is the index of column i of vector N.
                const unsigned v5 = index[320 + i], v6 = index[384 + i], v7 = index[448 + i];
                const unsigned v3 = index[192 + i], v4 = index[256 + i];
                out[i] = static_cast<std::uint8_t>(index[i] | v5 << 5);
                out[64 + i] = static_cast<std::uint8_t>(index[64 + i] | v6 << 5);
                out[128 + i] = static_cast<std::uint8_t>(index[128 + i] | v7 >> 2 << 5);
                out[192 + i] = static_cast<std::uint8_t>(v3 << 1 | (v7 & 1) | v5 >> 3 << 6);
                out[256 + i] = static_cast<std::uint8_t>(v4 >> 1 << 2 | (v4 & 1) | (v7 & 2) | v6 >> 3 << 6);
            }
        }
        const std::size_t rest = in % kDenseColumns;
        __builtin_memcpy(out, index, rest);
        __builtin_memset(out + rest, 0, (rest + 63) / 64 * 64 - rest);
    }
}

}  // namespace
}  // namespace bitnet
