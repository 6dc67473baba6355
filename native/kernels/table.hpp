// Included last by each instruction set, after its Vec16, kTokenTile, sum_int8 and dot_block:
//
//   kTokenTile: the most tokens dot_block takes.
//   sum_int8(x, n): the sum of n values, n a multiple of 64.
//   dot_block(w, in, rows, x, x_stride, tokens, codes): for up to 16 byte rows of `in` bytes at w and up to kTokenTile
//     activations at x: codes[(token * 4 + i) * 16 + row] = sum over columns of field i's code times the value.
//   multiply_int8(rounds): as in Kernels; without memory, in chains enough to hide the instruction's latency.
#pragma once

#include "kernels/attention.hpp"
#include "kernels/screen.hpp"

namespace bitnet {
namespace {

constexpr Kernels make_kernels(const char* name) {
    return {name,    widen,  rmsnorm, quantize,  rope,        linear,        linear_add,
            gate_up, attend, logits,  logits_of, screen_pack, screen_bounds, multiply_int8};
}

}  // namespace
}  // namespace bitnet
