// Rotate heads to the position of their row (RoPE), on the vector unit. The half-split form of RoPE is, element by
// element, x * cosine + swapped * signed sine, where swapped is x with the halves of each head exchanged.
#pragma once

#include "vectors.hpp"

#ifdef TRISC_MATH
namespace {

// Rotate `count` vectors from x on. All arguments are vectors of Dest. The angles repeat after `period` vectors.
template <int x, int swapped, int cosines, int sines, int count, int period>
void rotate() {
    using namespace sfpi;
#pragma GCC unroll 32
    for (int i = 0; i < count; ++i) {
        vFloat turned = dst_reg[x + i] * dst_reg[cosines + i % period];
        dst_reg[x + i] = dst_reg[swapped + i] * dst_reg[sines + i % period] + turned;
    }
}

}  // namespace
#endif
