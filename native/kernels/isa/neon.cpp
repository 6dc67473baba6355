// NEON with the dot product extension (ARMv8.2): sdot of codes and activations, 16 columns at a time.
#include "kernels/vec16/neon.hpp"
#include "kernels/kernels.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

constexpr std::size_t kTokenTile = 4;

inline std::int32_t sum_int8(const std::int8_t* x, std::size_t n) {
    int32x4_t total = vdupq_n_s32(0);
    for (std::size_t i = 0; i < n; i += 16) total = vdotq_s32(total, vdupq_n_s8(1), vld1q_s8(x + i));
    return vaddvq_s32(total);
}

// Assembly, or the compiler would see that all is constant.
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

// A byte row against kTokens tokens; rows are read one after the other, as in avx512.hpp. Fields 1 and 2 stay
// where they lie in their byte, counting 4 and 16 times; field 3 would look negative, so it moves.
template <int kTokens>
inline void dot_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                    std::int32_t* codes) {
    int32x4_t sums[kTokens][4] = {};
    const auto step = [&](const std::uint8_t* p, std::size_t column) BITNET_INLINE {
        const uint8x16_t bytes = vld1q_u8(p);
        const int8x16_t code[4] = {vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(0x03))),
                                   vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(0x0c))),
                                   vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(0x30))),
                                   vreinterpretq_s8_u8(vshrq_n_u8(bytes, 6))};
        BITNET_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const int8x16_t values = vld1q_s8(x + t * x_stride + column);
            BITNET_UNROLL
            for (int i = 0; i < 4; ++i) sums[t][i] = vdotq_s32(sums[t][i], code[i], values);
        }
    };
    const std::size_t whole = in / 16 * 16;
    for (std::size_t column = 0; column < whole; column += 16) step(w + column, column);
    if (whole < in) {
        std::uint8_t tail[16] = {};
        __builtin_memcpy(tail, w + whole, in - whole);
        step(tail, whole);
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const auto& s = sums[t];
        const std::int32_t four[4] = {vaddvq_s32(s[0]), vaddvq_s32(s[1]) >> 2, vaddvq_s32(s[2]) >> 4, vaddvq_s32(s[3])};
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = four[i];
    }
}

template <int kTokens>
BITNET_NOINLINE void dot_screen_row(const std::uint8_t* w, std::size_t columns, const std::int8_t* x,
                                    std::size_t x_stride, std::int32_t* codes) {
    int32x4_t sums[kTokens][4] = {};
    const uint8x16_t low = vdupq_n_u8(0x3f);
    for (std::size_t column = 0; column < columns; column += 16) {
        const std::uint8_t* p = w + column / 64 * 3 * 64 + column % 64;
        const uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 64), c = vld1q_u8(p + 128);
        const uint8x16_t d = vsriq_n_u8(vsriq_n_u8(a, b, 2), c, 4);  // the top bits of a, b and c one after the other
        const int8x16_t code[4] = {vreinterpretq_s8_u8(vandq_u8(a, low)), vreinterpretq_s8_u8(vandq_u8(b, low)),
                                   vreinterpretq_s8_u8(vandq_u8(c, low)), vreinterpretq_s8_u8(vshrq_n_u8(d, 2))};
        BITNET_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const int8x16_t values = vld1q_s8(x + t * x_stride + column);
            BITNET_UNROLL
            for (int i = 0; i < 4; ++i) sums[t][i] = vdotq_s32(sums[t][i], code[i], values);
        }
    }
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        BITNET_UNROLL
        for (int i = 0; i < 4; ++i) codes[(t * 4 + i) * 16] = vaddvq_s32(sums[t][i]);
    }
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

namespace bitnet {

const Kernels* neon_kernels() {
    static constexpr Kernels kernels = make_kernels("neon");
    return &kernels;
}

}  // namespace bitnet
