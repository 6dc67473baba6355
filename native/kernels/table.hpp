// Included last by each instruction set, after its Vec16 and:
//
//   kTokenTile: the most tokens that are multiplied at once.
//   sum_int8(x, n): the sum of n values, n a multiple of 64.
//   dot_row<kTokens>(w, in, x, x_stride, codes): for a byte row of `in` bytes at w and the activations of kTokens
//   tokens
//     at x: codes[(token * 4 + i) * 16] = sum over columns of field i's code times the value.
//   dot_screen_row<kTokens>(w, columns, x, x_stride, codes): the same for a row of screen.hpp's bytes; `columns` is a
//   multiple of 64.
//   dot_dense_row<kTokens>(w, in, x, x_stride, codes): as dot_row for a dense byte row, where dense.hpp is included.
//   multiply_int8(rounds): as in Kernels; without memory, in chains enough to hide the instruction's latency.
#pragma once

#include "kernels/attention.hpp"
#include "kernels/screen.hpp"

namespace bitnet {
namespace {

#ifdef BITNET_DENSE
constexpr auto* kPackDense = pack_dense;
#else
constexpr decltype(Kernels::pack_dense) kPackDense = nullptr;
#endif

constexpr Kernels make_kernels(const char* name) {
    return {name,   widen,  rmsnorm,   quantize,    rope,          linear,     linear_add,   gate_up,
            attend, logits, logits_of, screen_pack, screen_bounds, kPackDense, multiply_int8};
}

}  // namespace
}  // namespace bitnet
