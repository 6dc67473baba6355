// The steps of norm_quantize on the vector unit. See common/vectors.hpp for how a page lies in Dest.
//
// Three tiles of Dest are used: X and Y hold a page of the operands, STATS holds values of the whole row. The
// statistics of a row have one vector each. While a row is measured, each lane of the vector has its own value; at the
// end, all lanes have the same. Every sum and every maximum is taken in one order, so a row's result does not depend on
// other rows.
#pragma once

#include "../common/arguments.hpp"
#include "../common/vectors.hpp"
#include "api/compute/eltwise_unary/recip.h"
#include "api/compute/eltwise_unary/rsqrt.h"

#ifdef TRISC_MATH
#include "sfpu/ckernel_sfpu_rounding_ops.h"

namespace {

using namespace sfpi;

constexpr int X = 0, Y = 1 * vectors::PER_TILE, STATS = 2 * vectors::PER_TILE;

// Vectors of STATS while a row is measured: the largest magnitude (absmax), 1 / rms, 127 / absmax, and four vectors in
// which spread_lines leaves its result.
constexpr int LARGEST = STATS, INVERSE = STATS + 1, SCALE = STATS + 2, SPREAD = STATS + 4;

// Vectors of STATS while the operands are combined: the row's own factor, and the weight scales of the product's first
// and second matrix.
constexpr int FACTOR = STATS, FIRST_SCALE = STATS + 1, SECOND_SCALE = STATS + 2;

constexpr float MIN_LARGEST = 1e-5f, QUANTIZER_MAX = 127.0f;
constexpr float INVERSE_WIDTH = __builtin_bit_cast(float, CONSTANT("inverse_width_bits"));
constexpr float NORM_EPS = __builtin_bit_cast(float, CONSTANT("eps_bits"));

sfpi_inline vFloat larger(vFloat a, vFloat b) {
    v_if(b > a) { a = b; }
    v_endif;
    return a;
}

// ---- Combine the operands of a row. X has a page of the first, Y the same page of the second.

// X = X + Y * factor * scale: the residual stream plus a product.
void add_scaled() {
    vFloat factor = dst_reg[FACTOR], scale = dst_reg[FIRST_SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat y = dst_reg[Y + i] * factor;
        y = y * scale;
        dst_reg[Y + i] = y;
        dst_reg[X + i] = dst_reg[X + i] + dst_reg[Y + i];
    }
}

// X = X * factor * scale: the gate, and its squared relu if that is the activation.
template <bool squared_relu>
void scale_gate() {
    vFloat factor = dst_reg[FACTOR], scale = dst_reg[FIRST_SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat x = dst_reg[X + i] * factor;
        x = x * scale;
        if constexpr (squared_relu) {
            v_if(x < 0.0f) { x = 0.0f; }
            v_endif;
            x = x * x;
        }
        dst_reg[X + i] = x;
    }
}

// X = X * (Y * factor * scale): the activated gate times up.
void multiply_by_up() {
    vFloat factor = dst_reg[FACTOR], scale = dst_reg[SECOND_SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat y = dst_reg[Y + i] * factor;
        y = y * scale;
        dst_reg[X + i] = dst_reg[X + i] * y;
    }
}

// ---- Reduce a vector to one value in all lanes: first the 8 lanes of each of its 4 lines, then the 4 lines.

// Rotate the 8 lanes of each line.
template <int lanes>
sfpi_inline vFloat rotated(vFloat x) {
#pragma GCC unroll 4
    for (int lane = 0; lane < lanes; ++lane) {
        x = subvec_shflror1(x);
    }
    return x;
}

// Copy line i of the vector `from` to all four lines of the vector SPREAD + i. A transposition of four registers swaps
// line i of register j with line j of register i, so four copies of one vector give this. The instructions address
// vector v of Dest as 2 * v. They use fixed registers, so no vFloat may live across a call.
template <int from>
void spread_lines() {
    constexpr auto mode = ckernel::InstrModLoadStore::FP32;
    TTI_SFPLOAD(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPTRANSP(0, 0, 0, 0);
    TTI_SFPSTORE(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * SPREAD);
    TTI_SFPSTORE(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 1));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 2));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 3));
}

// ---- Measure a row, page after page in X.

// Set the statistics before the measurement. INVERSE stays 1 if there is no norm.
void clear_stats() {
    dst_reg[LARGEST] = 0.0f;
    dst_reg[INVERSE] = 1.0f;
}

// Until take_inverse, INVERSE holds the sum of squares.
void clear_sum() { dst_reg[INVERSE] = 0.0f; }

void add_squares() {
    vFloat sum = dst_reg[INVERSE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat x = dst_reg[X + i];
        sum = x * x + sum;
    }
    dst_reg[INVERSE] = sum;
}

void add_lanes_of_lines() {
    vFloat sum = dst_reg[INVERSE];
    sum = sum + rotated<4>(sum);
    sum = sum + rotated<2>(sum);
    sum = sum + rotated<1>(sum);
    dst_reg[INVERSE] = sum;
}

// INVERSE = 1 / sqrt(mean of squares + eps), from the spread lines of the sum.
void take_inverse() {
    vFloat upper = dst_reg[SPREAD] + dst_reg[SPREAD + 1];
    vFloat lower = dst_reg[SPREAD + 2] + dst_reg[SPREAD + 3];
    vFloat sum = upper + lower;
    dst_reg[INVERSE] = sum * INVERSE_WIDTH;
    vFloat shifted = dst_reg[INVERSE] + NORM_EPS;
    dst_reg[INVERSE] = ckernel::sfpu::_calculate_sqrt_body_<false, true, true>(shifted);
}

// X = X * INVERSE, times the gain in Y if there is a norm. Without a norm INVERSE is 1.
template <bool has_gain>
void normalize() {
    vFloat inverse = dst_reg[INVERSE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat x = dst_reg[X + i] * inverse;
        if constexpr (has_gain) {
            x = x * dst_reg[Y + i];
        }
        dst_reg[X + i] = x;
    }
}

void find_largest() {
    vFloat largest = dst_reg[LARGEST];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat x = dst_reg[X + i];
        largest = larger(largest, setsgn(x, 0));
    }
    dst_reg[LARGEST] = largest;
}

void compare_lanes_of_lines() {
    vFloat largest = dst_reg[LARGEST];
    largest = larger(largest, rotated<4>(largest));
    largest = larger(largest, rotated<2>(largest));
    largest = larger(largest, rotated<1>(largest));
    dst_reg[LARGEST] = largest;
}

// LARGEST = absmax, at least 1e-5, and SCALE = 127 / absmax, from the spread lines of LARGEST.
void take_scale() {
    vFloat largest = larger(dst_reg[SPREAD], dst_reg[SPREAD + 1]);
    largest = larger(largest, dst_reg[SPREAD + 2]);
    largest = larger(largest, dst_reg[SPREAD + 3]);
    largest = larger(largest, MIN_LARGEST);
    dst_reg[LARGEST] = largest;
    dst_reg[SCALE] = ckernel::sfpu::sfpu_reciprocal_iter<2>(dst_reg[LARGEST]) * QUANTIZER_MAX;
}

// X = round(X * SCALE), half to even.
void quantize() {
    vFloat scale = dst_reg[SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        dst_reg[X + i] = ckernel::sfpu::_round_even_(dst_reg[X + i] * scale);
    }
}

}  // namespace
#endif
