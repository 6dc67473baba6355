// Compare, and move numbers between the lanes of vectors, on the vector unit. A vector has four lines of 8 lanes.
#pragma once

#include "vectors.hpp"

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

sfpi_inline vFloat larger(vFloat a, vFloat b) { return max(a, b); }

// Rotate the 8 lanes of each line.
template <int lanes>
sfpi_inline vFloat rotated(vFloat x) {
#pragma GCC unroll 4
    for (int lane = 0; lane < lanes; ++lane) {
        x = subvec_shflror1(x);
    }
    return x;
}

// Line i of the vectors a, b, c, d becomes the four lines of vector `to` + i * step. A transposition of four registers
// swaps line i of register j with line j of register i. The instructions address vector v of Dest as 2 * v. They use
// fixed registers, so no vFloat may live across a call.
template <int a, int b, int c, int d, int to, int step>
inline void transpose_lines() {
    constexpr auto mode = ckernel::InstrModLoadStore::FP32;
    TTI_SFPLOAD(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * (a));
    TTI_SFPLOAD(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * (b));
    TTI_SFPLOAD(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * (c));
    TTI_SFPLOAD(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * (d));
    TTI_SFPTRANSP(0, 0, 0, 0);
    TTI_SFPSTORE(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * (to));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * (to + step));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * (to + 2 * step));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * (to + 3 * step));
}

}  // namespace
#endif
