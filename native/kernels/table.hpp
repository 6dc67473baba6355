// Puts the kernels of one instruction set into a table. Each isa/ISA.cpp includes this file last, after its Vec16
// (vec16/scalar.hpp lists the functions) and after these definitions of its own:
//
//     kTokenTile
//         The largest number of tokens that are multiplied at once. It follows from the number of registers.
//     sum_int8(x, n)
//         The sum of n values; n is a multiple of 64.
//     dot_row<kTokens>(w, in, x, x_stride, code_sums)
//         Multiplies the byte row of `in` bytes at w (stored form) with the activations of kTokens tokens at x:
//         code_sums[(token * 4 + field) * kBlockRows] = sum over columns of the field's code * the token's value.
//         That is one byte row of CodeSums (linear.hpp) or of ScreenSums.
//     dot_screen_row<kTokens>(w, columns, x, x_stride, code_sums)
//         The same for a byte row of the screen (screen.hpp); `columns` is a multiple of 64.
//     dot_group<kTokens>(w, columns, x, x_stride, code_sums)
//         Multiplies 16 rows of a group of the grouped form (grouped.hpp); `columns` is 64 or 128:
//         code_sums[token * kBlockRows + row] = sum over columns of the row's code * the token's value.
//     dot_dense_row<kTokens>(w, in, x, x_stride, code_sums)
//         The same for a byte row of the dense form, only where dense.hpp is included.
//     multiply_int8(rounds)
//         As in Kernels: without memory, in as many independent sums as hide the instruction's latency.
//
// A row of activations is padded with zeros to a multiple of 64, so a dot product may read whole registers of it. A
// byte row of weights is not padded: the last row of a mapped file may end where its mapping ends.
#pragma once

#include "kernels/attention.hpp"
#include "kernels/low_rank.hpp"
#include "kernels/screen.hpp"

namespace bitnet {
namespace {

#ifdef BITNET_DENSE
constexpr auto* kPackDense = pack_dense;
#else
constexpr decltype(Kernels::pack_dense) kPackDense = nullptr;
#endif

constexpr Kernels make_kernels(const char* name) {
    return {
        .name = name,
        .widen = widen,
        .widen_grouped = widen_grouped,
        .rmsnorm = rmsnorm,
        .quantize = quantize,
        .quantize_groups = quantize_groups,
        .rope = rope,
        .linear = linear,
        .linear_add = linear_add,
        .gate_up = gate_up,
        .gate = gate,
        .low_rank = low_rank,
        .add_low_rank = add_low_rank,
        .attend = attend,
        .logits = logits,
        .logits_of = logits_of,
        .screen_pack = screen_pack,
        .screen_bounds = screen_bounds,
        .pack_dense = kPackDense,
        .multiply_int8 = multiply_int8,
    };
}

}  // namespace
}  // namespace bitnet

// Defines ISA_kernels(), which kernels.hpp declares. A macro, because the function and the string share the name.
#define BITNET_DEFINE_KERNELS(isa)                             \
    const bitnet::Kernels* bitnet::isa##_kernels() {           \
        static constexpr Kernels kernels = make_kernels(#isa); \
        return &kernels;                                       \
    }
