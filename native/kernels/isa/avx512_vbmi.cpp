// The table of processors that have AVX-512 VBMI besides VNNI: Intel since Ice Lake, AMD since Zen 4. It adds the dense
// form of ternary weights, whose codes vpermb looks up: 64 look-ups an instruction in a table of 64 bytes, which is one
// register.
#include "kernels/dense.hpp"
#include "kernels/isa/avx512.hpp"

namespace bitnet {
namespace {

// A byte row of the dense form against kTokens tokens. dense.hpp draws the layout: 512 columns are the vectors a to e
// of 64 bytes, which hold eight vectors of 64 indices. For each of the eight vectors:
//
//     vpermb (index, table)     code = c0 | c1 << 2 | c2 << 4, the codes of three outputs
//     code & 0x03               c0
//     code & 0x0c               4 * c1
//     code                      c0 + 4 * c1 + 16 * c2
//
// The third field needs no mask: 16 * sum(c2 * x) is what is left of the sum of all three fields when the other two are
// taken away, once at the end of the row. All sums are exact. A code is at most 2 + 8 + 32 = 42, so a step adds at most
// 4 * 42 * 128 = 21,504 to an int32.
template <int kTokens>
inline void dot_dense_row(const std::uint8_t* w, std::size_t in, const std::int8_t* x, std::size_t x_stride,
                          std::int32_t* code_sums) {
    __m512i sums[kTokens][3] = {};  // of c0, of 4 * c1, of all
    const __m512i low = _mm512_load_si512(kDenseCodes.low), d_codes = _mm512_load_si512(kDenseCodes.d),
                  e_codes = _mm512_load_si512(kDenseCodes.e);
    const __m512i field_mask[2] = {_mm512_set1_epi8(0x03), _mm512_set1_epi8(0x0c)};
    const __m512i bits_0_to_2 = _mm512_set1_epi8(0x07), bits_2_to_4 = _mm512_set1_epi8(0x1c),
                  bit_0 = _mm512_set1_epi8(0x01);
    constexpr int kSelect = 0xca;  // the bits of the first operand choose between those of the second and third
    const auto add = [&](__m512i index, __m512i table, const std::int8_t* values) BITNET_INLINE {
        const __m512i code = _mm512_permutexvar_epi8(index, table);
        const __m512i first = _mm512_and_si512(code, field_mask[0]), second = _mm512_and_si512(code, field_mask[1]);
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
        // The first five indices as they lie. vpermb ignores bits 6 and 7; each table ignores the bit of 0-5 that is
        // not the index's.
        add(a, low, x);
        add(b, low, x + 64);
        add(c, low, x + 128);
        add(d, d_codes, x + 192);
        add(e, e_codes, x + 256);
        // The other three from the bits that are left over. Shifts of 16-bit words move bits across bytes; only bits
        // that come from the same byte, or that vpermb and the tables ignore, get through.
        add(_mm512_ternarylogic_epi32(bits_0_to_2, _mm512_srli_epi16(a, 5), _mm512_srli_epi16(d, 3), kSelect), low,
            x + 320);
        add(_mm512_ternarylogic_epi32(bits_0_to_2, _mm512_srli_epi16(b, 5), _mm512_srli_epi16(e, 3), kSelect), low,
            x + 384);
        const __m512i low_two = _mm512_ternarylogic_epi32(bit_0, d, e, kSelect);
        add(_mm512_ternarylogic_epi32(bits_2_to_4, _mm512_srli_epi16(c, 3), low_two, kSelect), low, x + 448);
    }
    // The last columns take a byte each, padded with zeros to 64, so no load leaves the row.
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
    store_sums(fields, code_sums);
}

}  // namespace
}  // namespace bitnet

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(avx512_vbmi)
