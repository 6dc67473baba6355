// The table of processors with AVX-VNNI but no AVX-512 (Intel since Alder Lake). vpdpbusd as in avx512.hpp, on 32
// columns at a time.
//
// The loops look like those of avx512.hpp and stay apart from them on purpose. Here are 16 registers, not 32, which
// turns the inner loops around: one field's code is made and multiplied with all tokens before the next one, and
// activations are loaded once a field, not once a token. Shared code would hide this difference and save only ten
// lines.
#include "kernels/isa/avx2_common.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"
#include "kernels/vec16/avx2.hpp"

namespace bitnet {
namespace {

// 3 tokens * 4 fields = 12 of the 16 registers hold sums. The others: the bytes, a code, a token's values and a mask.
constexpr std::size_t kTokenTile = 3;

// sums += codes * values, as assembly for the reason that avx512.hpp gives. The tests build the AVX-512 encoding of the
// same instruction: no emulator has AVX-VNNI, but many processors have AVX-512.
BITNET_INLINE inline void add_products(__m256i& sums, __m256i codes, __m256i values) {
#ifdef BITNET_AVX_VNNI_AS_AVX512
    asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(values));
#else
    asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(codes), "x"(values));
#endif
}

inline __m256i load_bytes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    __m256i total = _mm256_setzero_si256();
    for (std::size_t i = 0; i < n; i += 32) add_products(total, _mm256_set1_epi8(1), load_bytes(x + i));
    return sum_of_lanes(total);
}

std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 12;
    __m256i sums[kChains] = {};
    const __m256i codes = _mm256_set1_epi8(1), values = _mm256_set1_epi8(2);
    for (std::size_t i = 0; i < rounds; ++i) {
        BITNET_UNROLL
        for (int chain = 0; chain < kChains; ++chain) add_products(sums[chain], codes, values);
    }
    // An empty use of the sums. Without it the compiler would drop the whole loop.
    BITNET_UNROLL
    for (int chain = 0; chain < kChains; ++chain) asm volatile("" : : "x"(sums[chain]));
    return rounds * kChains * 32;
}

// Adds the products of 32 columns: the codes of field i times the activations of kTokens tokens.
template <int kTokens>
BITNET_INLINE inline void add_codes(__m256i (&sums)[kTokens][4], int i, __m256i code, const std::int8_t* x,
                                    std::size_t x_stride) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) add_products(sums[t][i], code, load_bytes(x + t * x_stride));
}

// A byte row of the stored form against kTokens tokens. As in avx512.hpp, codes stay at their place in the byte, the
// sum of field i counts 4^i times until the end of the row, and byte rows are read one after another.
//
// A register has 8 sums, not 16, so they overflow twice as soon: a step adds at most 4 * 2 * 64 * 127 = 65,024 to a sum
// of valid codes, and 2^31 / 65,024 = 33,026 steps of 32 columns are 1.06 million columns. backends/cpu/load.py allows
// 2^20 = 1.05 million.
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* code_sums) {
    __m256i sums[kTokens][4] = {};
    const __m256i field_mask[4] = {_mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0c), _mm256_set1_epi8(0x30),
                                   _mm256_set1_epi8(static_cast<char>(0xc0))};
    const auto step = [&](std::size_t column, __m256i bytes) BITNET_INLINE {
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) add_codes(sums, i, _mm256_and_si256(bytes, field_mask[i]), x + column, x_stride);
    };
    const std::size_t whole = in / 32 * 32;
    for (std::size_t column = 0; column < whole; column += 32) step(column, load_bytes(w + column));
    if (whole < in) {  // a copy, as the bytes after the row may be outside the mapping
        std::uint8_t tail[32] = {};
        __builtin_memcpy(tail, w + whole, in - whole);
        step(whole, load_bytes(tail));
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 1; i < 4; ++i) sums[t][i] = _mm256_srai_epi32(sums[t][i], 2 * i);
    }
    store_sums(sums, code_sums);
}

// A byte row of the screen against kTokens tokens.
template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* code_sums) {
    __m256i sums[kTokens][4] = {};
    for (std::size_t column = 0; column < columns; column += 32) {
        __m256i code[4];
        load_screen_codes(w, column, code);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) add_codes(sums, i, code[i], x + column, x_stride);
    }
    store_sums(sums, code_sums);
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(avx_vnni)
