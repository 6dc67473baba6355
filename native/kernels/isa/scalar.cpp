// Plain C++: any processor, and the yardstick of the other instruction sets.
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

// Processor registers of no particular width, hidden from the compiler, which would see that all is constant.
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

template <int kTokens>
void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride, std::int32_t* codes) {
    for (int t = 0; t < kTokens; ++t) {
        std::int32_t sums[4] = {};
        for (std::size_t column = 0; column < in; ++column) {
            for (int i = 0; i < 4; ++i) sums[i] += (w[column] >> (2 * i) & 3) * x[t * x_stride + column];
        }
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = sums[i];
    }
}

template <int kTokens>
void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* codes) {
    for (int t = 0; t < kTokens; ++t) {
        std::int32_t sums[4] = {};
        for (std::size_t column = 0; column < columns; ++column) {
            const std::uint8_t* p = w + column / 64 * 3 * 64 + column % 64;
            const int code[4] = {p[0] & 63, p[64] & 63, p[128] & 63, p[0] >> 6 << 4 | p[64] >> 6 << 2 | p[128] >> 6};
            for (int i = 0; i < 4; ++i) sums[i] += code[i] * x[t * x_stride + column];
        }
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = sums[i];
    }
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

namespace bitnet {

const Kernels* scalar_kernels() {
    static constexpr Kernels kernels = make_kernels("scalar");
    return &kernels;
}

}  // namespace bitnet
