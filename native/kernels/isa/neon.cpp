// The table of ARM processors with NEON and its dot product extension (ARMv8.2 and later), 16 columns at a time.
//
// sdot multiplies 16 signed bytes by 16 signed bytes and adds each four neighbouring products to one of 4 int32 sums.
// Unlike x86's vpdpbusd it takes both operands as signed, so a code must stay below 128.
#include "kernels/vec16/neon.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// 4 tokens * 4 fields = 16 of the 32 registers hold sums.
constexpr std::size_t kTokenTile = 4;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    int32x4_t total = vdupq_n_s32(0);
    for (std::size_t i = 0; i < n; i += 16) total = vdotq_s32(total, vdupq_n_s8(1), vld1q_s8(x + i));
    return vaddvq_s32(total);
}

// Assembly, because the compiler would see that all operands are constant and drop the loop.
std::size_t multiply_int8(std::size_t rounds) {
    constexpr int kChains = 24;
    int32x4_t sums[kChains] = {};
    const int8x16_t codes = vdupq_n_s8(1), values = vdupq_n_s8(2);
    for (std::size_t i = 0; i < rounds; ++i) {
        BITNET_UNROLL
        for (int chain = 0; chain < kChains; ++chain)
            asm volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sums[chain]) : "w"(codes), "w"(values));
    }
    return rounds * kChains * 16;
}

// Adds the products of 16 columns: the codes of four fields times the activations of kTokens tokens.
template <int kTokens>
BITNET_INLINE inline void add_codes(int32x4_t (&sums)[kTokens][4], const uint8x16_t (&code)[4], const std::int8_t* x,
                                    std::size_t x_stride) {
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const int8x16_t values = vld1q_s8(x + t * x_stride);
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) sums[t][i] = vdotq_s32(sums[t][i], vreinterpretq_s8_u8(code[i]), values);
    }
}

// A byte row of the stored form against kTokens tokens. As in avx512.hpp, fields 1 and 2 stay at their place in the
// byte and count 4 and 16 times until the end of the row. Field 3 would be up to 192, which is negative as a signed
// byte, so it is shifted down. Byte rows are read one after another.
//
// The factors are taken out lane by lane, before the lanes are added: the sum of all lanes, 16 times as large, would
// overflow from 530,000 columns on. A lane takes 4 products of at most 3 * 16 * 128 = 6144 a step, so as in avx512.hpp
// it overflows only after 1.4 million columns.
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* code_sums) {
    int32x4_t sums[kTokens][4] = {};
    const auto step = [&](const std::uint8_t* p, std::size_t column) BITNET_INLINE {
        const uint8x16_t bytes = vld1q_u8(p);
        const uint8x16_t code[4] = {vandq_u8(bytes, vdupq_n_u8(0x03)), vandq_u8(bytes, vdupq_n_u8(0x0c)),
                                    vandq_u8(bytes, vdupq_n_u8(0x30)), vshrq_n_u8(bytes, 6)};
        add_codes(sums, code, x + column, x_stride);
    };
    const std::size_t whole = in / 16 * 16;
    for (std::size_t column = 0; column < whole; column += 16) step(w + column, column);
    if (whole < in) {  // a copy, as the bytes after the row may be outside the mapping
        std::uint8_t tail[16] = {};
        __builtin_memcpy(tail, w + whole, in - whole);
        step(tail, whole);
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const int32x4_t field_sums[4] = {sums[t][0], vshrq_n_s32(sums[t][1], 2), vshrq_n_s32(sums[t][2], 4),
                                         sums[t][3]};
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) code_sums[(t * 4 + i) * kBlockRows] = vaddvq_s32(field_sums[i]);
    }
}

// A byte row of the screen against kTokens tokens. screen.hpp draws the layout. vsri (shift right and insert) puts the
// shifted second operand below the top bits of the first:
//
//     vsri(a, b, 2)            a7 a6 b7 b6 b5 b4 b3 b2      a7 means bit 7 of a
//     vsri(that, c, 4)         a7 a6 b7 b6 c7 c6 c5 c4      shifted right by 2, it is the code of field 3
template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* code_sums) {
    int32x4_t sums[kTokens][4] = {};
    const uint8x16_t low = vdupq_n_u8(0x3f);
    for (std::size_t column = 0; column < columns; column += 16) {
        const std::uint8_t* p = w + column / 64 * 3 * 64 + column % 64;
        const uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 64), c = vld1q_u8(p + 128);
        const uint8x16_t d = vsriq_n_u8(vsriq_n_u8(a, b, 2), c, 4);
        const uint8x16_t code[4] = {vandq_u8(a, low), vandq_u8(b, low), vandq_u8(c, low), vshrq_n_u8(d, 2)};
        add_codes(sums, code, x + column, x_stride);
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) code_sums[(t * 4 + i) * kBlockRows] = vaddvq_s32(sums[t][i]);
    }
}

// 16 rows of one group of the grouped form against kTokens tokens; grouped.hpp draws the layout. A 32-bit lane belongs
// to one row. One register holds the activations of all four fields; sdot takes those of field i from its lane i.
template <int kTokens>
inline void dot_group(const std::uint8_t* w, std::size_t columns, const std::int8_t* x, std::size_t x_stride,
                      std::int32_t* code_sums) {
    int32x4_t sums[kTokens][4] = {};
    for (std::size_t column = 0; column < columns; column += 16) {
        prefetch(w + 4 * column, kGroupedAhead);
        int8x16_t values[kTokens];
        BITNET_UNROLL
        for (int t = 0; t < kTokens; ++t) values[t] = vld1q_s8(x + t * x_stride + column);
        BITNET_UNROLL
        for (int rows = 0; rows < 4; ++rows) {
            const uint8x16_t bytes = vld1q_u8(w + 4 * column + 16 * rows), low = vdupq_n_u8(3);
            const int8x16_t code0 = vreinterpretq_s8_u8(vandq_u8(bytes, low));
            const int8x16_t code1 = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bytes, 2), low));
            const int8x16_t code2 = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bytes, 4), low));
            const int8x16_t code3 = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 6));
            BITNET_UNROLL
            for (int t = 0; t < kTokens; ++t) {
                int32x4_t& sum = sums[t][rows];
                sum = vdotq_laneq_s32(sum, code0, values[t], 0);
                sum = vdotq_laneq_s32(sum, code1, values[t], 1);
                sum = vdotq_laneq_s32(sum, code2, values[t], 2);
                sum = vdotq_laneq_s32(sum, code3, values[t], 3);
            }
        }
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int rows = 0; rows < 4; ++rows) vst1q_s32(code_sums + t * kBlockRows + 4 * rows, sums[t][rows]);
    }
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(neon)
