// AVX-512 with VNNI and VBMI, whose vpermb looks up the codes of dense ternary weights.
#include "kernels/dense.hpp"
#include "kernels/isa/avx512.hpp"

namespace bitnet {
namespace {

// A dense byte row, see dense.hpp, against kTokens tokens: groups of 64 columns, one after the other.
template <int kTokens>
inline void dot_dense_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                          std::int32_t* codes) {
    // The sums of field 0, 4 times field 1, and all three fields where they lie: that leaves 16 times field 2.
    __m512i sums[kTokens][3] = {};
    const __m512i low = _mm512_load_si512(kDenseCodes.low), d_codes = _mm512_load_si512(kDenseCodes.d),
                  e_codes = _mm512_load_si512(kDenseCodes.e);
    const __m512i field[2] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c)};
    const __m512i three = _mm512_set1_epi8(0x07), middle = _mm512_set1_epi8(0x1c), one = _mm512_set1_epi8(0x01);
    constexpr int kSelect = 0xca;  // the first operand's bits choose between the others'
    const auto add = [&](__m512i index, __m512i table, const std::int8_t* values) BITNET_INLINE {
        const __m512i code = _mm512_permutexvar_epi8(index, table);
        const __m512i first = _mm512_and_si512(code, field[0]), second = _mm512_and_si512(code, field[1]);
        BITNET_UNROLL
        for (int t = 0; t < kTokens; ++t) {
            const __m512i v = _mm512_loadu_si512(values + t * x_stride);
            add_products(sums[t][0], first, v);
            add_products(sums[t][1], second, v);
            add_products(sums[t][2], code, v);
        }
    };
    const std::int8_t* const whole = x + in / kDenseColumns * kDenseColumns;
    for (; x < whole; x += kDenseColumns, w += kDenseBytes) {
        const __m512i a = _mm512_loadu_si512(w), b = _mm512_loadu_si512(w + 64), c = _mm512_loadu_si512(w + 128),
                      d = _mm512_loadu_si512(w + 192), e = _mm512_loadu_si512(w + 256);
        add(a, low, x);
        add(b, low, x + 64);
        add(c, low, x + 128);
        add(d, d_codes, x + 192);
        add(e, e_codes, x + 256);
        add(_mm512_ternarylogic_epi32(three, _mm512_srli_epi16(a, 5), _mm512_srli_epi16(d, 3), kSelect), low, x + 320);
        add(_mm512_ternarylogic_epi32(three, _mm512_srli_epi16(b, 5), _mm512_srli_epi16(e, 3), kSelect), low, x + 384);
        const __m512i rest = _mm512_ternarylogic_epi32(one, d, e, kSelect);
        add(_mm512_ternarylogic_epi32(middle, _mm512_srli_epi16(c, 3), rest, kSelect), low, x + 448);
    }
    for (std::size_t column = 0; column < in % kDenseColumns; column += 64, w += 64)
        add(_mm512_loadu_si512(w), low, x + column);
    __m512i fields[kTokens][4];
    BITNET_UNROLL
    for (int t = 0; t < kTokens; ++t) {
        const __m512i third = _mm512_sub_epi32(_mm512_sub_epi32(sums[t][2], sums[t][0]), sums[t][1]);
        fields[t][0] = sums[t][0];
        fields[t][1] = _mm512_srai_epi32(sums[t][1], 2);
        fields[t][2] = _mm512_srai_epi32(third, 4);
        fields[t][3] = _mm512_setzero_si512();
    }
    store_sums(fields, codes);
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

namespace bitnet {

const Kernels* avx512_vbmi_kernels() {
    static constexpr Kernels kernels = make_kernels("avx512_vbmi");
    return &kernels;
}

}  // namespace bitnet
