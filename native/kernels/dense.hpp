// Dense ternary weights: 5 bits for the codes of three outputs, where two bits each would take 6.
//
// Byte row r of thirds = ceil(out / 3) holds outputs r, thirds + r and 2 * thirds + r. Their codes of a column (T + 1)
// make an index, c0 + 3 * c1 + 9 * c2. Of 512 columns the indices of the first five times 64 lie in the five vectors of
// 64 bytes a, b, c, d and e, and those of the other three times 64 in what bits these leave:
//
//     a, b, c  bits 0-4 are the index       bits 5-7: bits 0-2 of the sixth and seventh, bits 2-4 of the eighth
//     d        bits 1-5 are the index       bits 6-7: bits 3-4 of the sixth; bit 0: bit 0 of the eighth
//     e        bits 0, 2-5 are the index    bits 6-7: bits 3-4 of the seventh; bit 1: bit 1 of the eighth
//
// Each is as few instructions from the low six bits of a byte as can be, which is where vpermb looks for an index; of
// those the one that is not the index's does not matter. Columns beyond the last 512 take a byte each.
#pragma once

#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

// For linear.hpp and table.hpp: the instruction set has dot_dense_row.
#define BITNET_DENSE

namespace bitnet {
namespace {

// What the low six bits of a byte say, as the codes of three outputs: c0 | c1 << 2 | c2 << 4.
struct DenseCodes {
    alignas(64) std::uint8_t low[64];
    alignas(64) std::uint8_t d[64];
    alignas(64) std::uint8_t e[64];
};
constexpr DenseCodes make_dense_codes() {
    DenseCodes codes = {};
    for (unsigned bits = 0; bits < 64; ++bits) {
        const auto of = [](unsigned index) {
            return static_cast<std::uint8_t>(index % 3 | index / 3 % 3 << 2 | index / 9 % 3 << 4);
        };
        codes.low[bits] = of(bits & 31);
        codes.d[bits] = of(bits >> 1);
        codes.e[bits] = of(bits >> 2 << 1 | (bits & 1));
    }
    return codes;
}
constexpr DenseCodes kDenseCodes = make_dense_codes();

// The indices of byte row `row`, one a column; eight at a time, in words whose bytes the masks keep apart.
inline void dense_indices(const TernaryMatrix& weight, std::size_t row, std::uint8_t* __restrict indices) {
    const std::size_t in = weight.in, quarter = weight.out / 4, thirds = (weight.out + 2) / 3;
    const std::uint8_t* bytes[3];
    std::uint64_t shift[3], mask[3];
    for (std::size_t field = 0; field < 3; ++field) {
        const std::size_t output = field * thirds + row < weight.out ? field * thirds + row : row;
        bytes[field] = weight.packed + output % quarter * in;
        shift[field] = 2 * (output / quarter);
        mask[field] = field > 0 && output == row ? 0 : 0x0303030303030303;  // zeros beyond the last output
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
                const unsigned sixth = index[320 + i], seventh = index[384 + i], eighth = index[448 + i];
                const unsigned d = index[192 + i], e = index[256 + i];
                out[i] = static_cast<std::uint8_t>(index[i] | sixth << 5);
                out[64 + i] = static_cast<std::uint8_t>(index[64 + i] | seventh << 5);
                out[128 + i] = static_cast<std::uint8_t>(index[128 + i] | eighth >> 2 << 5);
                out[192 + i] = static_cast<std::uint8_t>(d << 1 | (eighth & 1) | sixth >> 3 << 6);
                out[256 + i] = static_cast<std::uint8_t>(e >> 1 << 2 | (e & 1) | (eighth & 2) | seventh >> 3 << 6);
            }
        }
        const std::size_t rest = in % kDenseColumns;
        __builtin_memcpy(out, index, rest);
        __builtin_memset(out + rest, 0, (rest + 63) / 64 * 64 - rest);
    }
}

}  // namespace
}  // namespace bitnet
