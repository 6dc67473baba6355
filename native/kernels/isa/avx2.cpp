// AVX2: vpmaddubsw of codes and activations into 16-bit sums, widened before they can overflow.
#include "kernels/vec16/avx2.hpp"
#include "kernels/isa/avx2_common.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

constexpr std::size_t kTokenTile = 2;

// A pair of products is at most 2 * 3 * 128 = 768 even for the invalid code 3, so 42 of them fit an int16.
constexpr std::size_t kColumnsPerFlush = 40 * 32;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    const __m256i ones = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256();
    for (std::size_t i = 0; i < n; i += 32) {
        const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, values), ones16));
    }
    return sum_of_lanes(total);
}

// Assembly, or the compiler would see that all is constant.
std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 8;
    __m256i sums[kChains] = {}, codes = _mm256_set1_epi8(1);
    const __m256i values = _mm256_set1_epi8(2);
    for (std::size_t i = 0; i < rounds; ++i) {
        BITNET_UNROLL
        for (int chain = 0; chain < kChains; ++chain) {
            __m256i products;
            asm volatile("vpmaddubsw %3, %2, %1; vpaddw %1, %0, %0"
                         : "+x"(sums[chain]), "=&x"(products)
                         : "x"(codes), "x"(values));
        }
    }
    return rounds * kChains * 32;
}

// Adds the products of `count` columns, a multiple of 32 and at most kColumnsPerFlush, to the sums at `wide`.
template <int kTokens>
BITNET_INLINE inline void add_columns(const std::uint8_t* w, std::size_t count, const std::int8_t* x,
                                      std::size_t x_stride, __m256i (&wide)[kTokens][4]) {
    __m256i sums[kTokens][4] = {};
    const __m256i low_bits = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    for (std::size_t column = 0; column < count; column += 32) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + column));
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) {
            const __m256i code = _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * i), low_bits);
            BITNET_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const auto* values = reinterpret_cast<const __m256i*>(x + t * x_stride + column);
                sums[t][i] = _mm256_add_epi16(sums[t][i], _mm256_maddubs_epi16(code, _mm256_loadu_si256(values)));
            }
        }
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) wide[t][i] = _mm256_add_epi32(wide[t][i], _mm256_madd_epi16(sums[t][i], ones));
    }
}

// The same, where both kinds of sums would take more registers than there are: those at `wide` do without for a while.
template <int kTokens>
BITNET_NOINLINE void add_columns_apart(const std::uint8_t* w, std::size_t count, const std::int8_t* x,
                                       std::size_t x_stride, __m256i (&wide)[kTokens][4]) {
    add_columns<kTokens>(w, count, x, x_stride, wide);
}

// A byte row against kTokens tokens; rows are read one after the other, as in avx512.hpp.
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* codes) {
    __m256i wide[kTokens][4] = {};
    const std::size_t whole = in / 32 * 32;
    for (std::size_t begin = 0; begin < whole; begin += kColumnsPerFlush) {
        const std::size_t count = whole - begin < kColumnsPerFlush ? whole - begin : kColumnsPerFlush;
        if constexpr (kTokens == 1) {
            add_columns<kTokens>(w + begin, count, x + begin, x_stride, wide);
        } else {
            add_columns_apart<kTokens>(w + begin, count, x + begin, x_stride, wide);
        }
    }
    if (whole < in) {
        std::uint8_t tail[32] = {};
        __builtin_memcpy(tail, w + whole, in - whole);
        add_columns<kTokens>(tail, 32, x + whole, x_stride, wide);
    }
    store_sums(wide, codes);
}

// Pairs of products of 6-bit codes fill an int16, so that each is widened at once.
template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* codes) {
    __m256i sums[kTokens][4] = {};
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::size_t column = 0; column < columns; column += 32) {
        __m256i code[4];
        load_screen_codes(w, column, code);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) {
            BITNET_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const auto* values = reinterpret_cast<const __m256i*>(x + t * x_stride + column);
                const __m256i pairs = _mm256_maddubs_epi16(code[i], _mm256_loadu_si256(values));
                sums[t][i] = _mm256_add_epi32(sums[t][i], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    store_sums(sums, codes);
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

namespace bitnet {

const Kernels* avx2_kernels() {
    static constexpr Kernels kernels = make_kernels("avx2");
    return &kernels;
}

}  // namespace bitnet
