// How norm_quantize combines the operands of a row on the vector unit. X has a page of the first, Y the same page of
// the second (see row_math.hpp).
#pragma once

#include "../common/row_math.hpp"

#ifdef TRISC_MATH
namespace {

// Vectors of STATS: the row's own factor, and the weight scales of the product's first and second matrix.
constexpr int FACTOR = STATS, FIRST_SCALE = STATS + 1, SECOND_SCALE = STATS + 2;

// X = X + Y * factor * scale: the residual stream plus a product.
void add_scaled() {
    vFloat factor = dst_reg[FACTOR], scale = dst_reg[FIRST_SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat y = dst_reg[Y + i] * factor;
        y = y * scale;
        dst_reg[Y + i] = y;
        dst_reg[X + i] = vFloat(dst_reg[X + i]) + dst_reg[Y + i];
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

}  // namespace
#endif
