// The table in plain C++. It runs on any processor, and every other table must give its bits. It is written to be read:
// dot_row and dot_screen_row here say what those of the other instruction sets compute.
#include "kernels/vec16/scalar.hpp"
#include "kernels/kernels.hpp"

namespace bitnet {
namespace {

constexpr std::size_t kTokenTile = 4;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    std::int32_t total = 0;
    for (std::size_t i = 0; i < n; ++i) total += x[i];
    return total;
}

// The empty assembly statements tell the compiler that the numbers may have changed. It would otherwise see that all is
// constant, and drop the loop.
std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 8;
    int sums[kChains] = {}, code = 1, value = 2;
    for (std::size_t i = 0; i < rounds; ++i) {
        for (int& sum : sums) {
            asm volatile("" : "+r"(code), "+r"(value));
            sum += code * value;
        }
        for (int& sum : sums) asm volatile("" : "+r"(sum));
    }
    return rounds * kChains;
}

// A byte row of the stored form: field i of a byte is its bits 2i and 2i + 1.
template <int kTokens>
void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
             std::int32_t* code_sums) {
    for (int t = 0; t < kTokens; ++t) {
        std::int32_t sums[4] = {};
        for (std::size_t column = 0; column < in; ++column) {
            for (int i = 0; i < 4; ++i) sums[i] += (w[column] >> (2 * i) & 3) * x[t * x_stride + column];
        }
        for (int i = 0; i < 4; ++i) code_sums[(t * 4 + i) * kBlockRows] = sums[i];
    }
}

// A byte row of the screen: the three bytes of a column are 64 bytes apart. Their low six bits are the codes of fields
// 0, 1 and 2, and their top two bits, one after another, the code of field 3.
template <int kTokens>
void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* code_sums) {
    for (int t = 0; t < kTokens; ++t) {
        std::int32_t sums[4] = {};
        for (std::size_t column = 0; column < columns; ++column) {
            const std::uint8_t* p = w + column / 64 * 3 * 64 + column % 64;
            const int code[4] = {p[0] & 63, p[64] & 63, p[128] & 63, p[0] >> 6 << 4 | p[64] >> 6 << 2 | p[128] >> 6};
            for (int i = 0; i < 4; ++i) sums[i] += code[i] * x[t * x_stride + column];
        }
        for (int i = 0; i < 4; ++i) code_sums[(t * 4 + i) * kBlockRows] = sums[i];
    }
}

// 16 rows of one group of the grouped form: word r of 64 bytes holds 16 columns of row r; field i of byte k of the word
// is column 4 * k + i, whose activation is at 4 * i + k.
template <int kTokens>
void dot_group(const std::uint8_t* w, std::size_t columns, const std::int8_t* x, std::size_t x_stride,
               std::int32_t* code_sums) {
    for (int t = 0; t < kTokens; ++t) {
        for (std::size_t row = 0; row < kBlockRows; ++row) {
            std::int32_t sum = 0;
            for (std::size_t column = 0; column < columns; column += 16) {
                const std::uint8_t* word = w + 4 * column + 4 * row;
                const std::int8_t* values = x + t * x_stride + column;
                for (int k = 0; k < 4; ++k)
                    for (int i = 0; i < 4; ++i) sum += (word[k] >> (2 * i) & 3) * values[4 * i + k];
            }
            code_sums[t * kBlockRows + row] = sum;
        }
    }
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(scalar)
