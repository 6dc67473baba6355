// The table of processors with AVX2 and FMA but no VNNI. 32 columns at a time, in two steps with 16-bit sums between:
//
//     vpmaddubsw (codes u8, values s8)   16 sums of two neighbouring products, s16
//     vpaddw                             adds them up over many columns, s16
//     vpmaddwd (those, ones)             8 sums of two neighbours, s32: now and then, before the s16 can overflow
//
// VNNI does all that in one instruction. Adding up in 16 bits keeps vpmaddwd out of the inner loop.
#include "kernels/vec16/avx2.hpp"
#include "kernels/isa/avx2_common.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// 3 tokens * 4 fields = 12 of the 16 registers hold 16-bit sums. The others: the bytes, a code, products and a mask.
constexpr std::size_t kTokenTile = 3;

// How many columns the 16-bit sums take before they are widened. A step of 32 columns adds one pair of products to each
// sum. A pair is at most 2 * 3 * 128 = 768, even for the invalid code 3, and 42 * 768 = 32,256 still fits below 32,768.
// So 40 steps are safe. The codes are shifted down to 0..3 first: at its place in the byte, a code of field 3 could
// make a pair of 2 * 192 * 128 = 49,152, which vpmaddubsw would saturate.
constexpr std::size_t kColumnsPerFlush = 40 * 32;

// Each sum of two values is widened to 32 bits at once. It is at most 256 in size, so vpmaddubsw does not saturate it.
inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    const __m256i ones = _mm256_set1_epi8(1), ones16 = _mm256_set1_epi16(1);
    __m256i total = _mm256_setzero_si256();
    for (std::size_t i = 0; i < n; i += 32) {
        const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + i));
        total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_maddubs_epi16(ones, values), ones16));
    }
    return sum_of_lanes(total);
}

// Assembly, because the compiler would see that all operands are constant and drop the loop.
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

// How far ahead of the multiplication weights and screen are asked for, in bytes. The hardware prefetcher starts again
// at every page of 4 KB, and one row of weights lies behind the other.
constexpr std::size_t kAhead = 2048;

// A byte row of the stored form against kTokens tokens. Where the 32-bit sums do not fit in the registers too, they
// wait in memory.
template <int kTokens>
BITNET_NOINLINE void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                             std::int32_t* code_sums) {
    __m256i wide[kTokens][4] = {};
    const __m256i low_bits = _mm256_set1_epi8(3), ones = _mm256_set1_epi16(1);
    // Adds the products of `count` columns from `begin` on, at most kColumnsPerFlush. `begin` and `count` are multiples
    // of 32, and the weights are at `bytes`.
    const auto add_columns = [&](const std::uint8_t* bytes, std::size_t begin, std::size_t count) BITNET_INLINE {
        __m256i sums[kTokens][4] = {};  // 16 sums of 16 bits each
        for (std::size_t column = 0; column < count; column += 32) {
            prefetch(bytes + column, kAhead);
            const __m256i fields = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + column));
            BITNET_UNROLL
            for (int i = 0; i < 4; ++i) {
                // The shift is of 16-bit words; the mask removes the bits that come from the neighbouring byte.
                const __m256i code = _mm256_and_si256(_mm256_srli_epi16(fields, 2 * i), low_bits);
                BITNET_UNROLL
                for (int t = 0; t < kTokens; ++t) add_pairs(sums[t][i], code, x + t * x_stride + begin + column);
            }
        }
        BITNET_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            BITNET_UNROLL
            for (int i = 0; i < 4; ++i) {
                wide[t][i] = _mm256_add_epi32(wide[t][i], _mm256_madd_epi16(sums[t][i], ones));
            }
        }
    };
    const std::size_t whole = in / 32 * 32;
    for (std::size_t begin = 0; begin < whole; begin += kColumnsPerFlush)
        add_columns(w + begin, begin, whole - begin < kColumnsPerFlush ? whole - begin : kColumnsPerFlush);
    if (whole < in) {  // a copy, as the bytes after the row may be outside the mapping
        std::uint8_t tail[32] = {};
        __builtin_memcpy(tail, w + whole, in - whole);
        add_columns(tail, whole, 32);
    }
    store_sums(wide, code_sums);
}

// A byte row of the screen against kTokens tokens. A pair of products of 6-bit codes is at most 2 * 63 * 128 = 16,128.
// An int16 holds the sum of two such pairs but not of three: 64 columns are added up before they are widened.
template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* code_sums) {
    __m256i sums[kTokens][4] = {};
    const __m256i ones = _mm256_set1_epi16(1);
    for (std::size_t column = 0; column < columns; column += 64) {
        BITNET_UNROLL
        for (int line = 0; line < 3; ++line) prefetch(w + 3 * column, kAhead + 64 * line);
        __m256i first[4], second[4];
        load_screen_codes(w, column, first);
        load_screen_codes(w, column + 32, second);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) {
            BITNET_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                const std::int8_t* const values = x + t * x_stride + column;
                __m256i pairs =
                    _mm256_maddubs_epi16(first[i], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values)));
                add_pairs(pairs, second[i], values + 32);
                sums[t][i] = _mm256_add_epi32(sums[t][i], _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    store_sums(sums, code_sums);
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(avx2)
