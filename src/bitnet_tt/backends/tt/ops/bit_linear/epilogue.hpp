// What follows the product of a BitLinear, on the vector unit, in Dest.
//
// The product of up to 8 rows with 32 columns of weights is a tile of Dest of which only the first rows count: half of
// their elements in the first lines, the others from line 16 on, where the tile's second face begins.
#pragma once

#include "../common/row_math.hpp"

namespace epilogue {

// Tiles of Dest: up to four tiles of the product, then the operands.
constexpr uint32_t STATS_TILE = 4, SCALES_TILE = 5, RESIDUAL_TILE = 6;

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

// The vectors of the rows in a tile: even and odd columns for each set, of the left half and then of the right half.
constexpr int COUNT = 4 * SETS, HALF = 2 * SETS;
constexpr int FACE = 8;  // vectors

// Vector i of the rows, over all tiles.
constexpr int at(int i) { return i / COUNT * vectors::PER_TILE + i % COUNT / HALF * FACE + i % HALF; }

// The vector with absmax of the rows of vector i.
constexpr int factor(int i) { return STATS_TILE * vectors::PER_TILE + LARGEST - STATS + set_of(i); }

// The vector with the scale of the weights that vector i belongs to: each tile has four equal ones.
constexpr int weight_scale(int i) { return SCALES_TILE * vectors::PER_TILE + i / COUNT * 4; }

// The residual stream of vector i.
constexpr int residual(int i) { return RESIDUAL_TILE * vectors::PER_TILE + i; }

// Set the rows to zero before the product is added up there: copies to Dest may have left numbers of an earlier step.
template <int columns>
void clear() {
#pragma GCC unroll 32
    for (int i = 0; i < COUNT * columns; ++i) {
        dst_reg[at(i)] = 0.0f;
    }
}

// product * absmax * scale, and plus the residual stream.
template <int tiles, bool adds>
void scale() {
#pragma GCC unroll 32
    for (int i = 0; i < COUNT * tiles; ++i) {
        vFloat y = dst_reg[at(i)] * dst_reg[factor(i)];
        dst_reg[at(i)] = y * dst_reg[weight_scale(i)];
        if constexpr (adds) {
            dst_reg[at(i)] = vFloat(dst_reg[residual(i)]) + dst_reg[at(i)];
        }
    }
}

// The first half of the tiles are the gate: scale them, and square their relu if that is the activation.
template <int tiles, bool squared_relu>
void scale_gate() {
#pragma GCC unroll 32
    for (int i = 0; i < COUNT * tiles; ++i) {
        vFloat x = dst_reg[at(i)] * dst_reg[factor(i)];
        x = x * dst_reg[weight_scale(i)];
        if constexpr (squared_relu) {
            v_if(x < 0.0f) { x = 0.0f; }
            v_endif;
            x = x * x;
        }
        dst_reg[at(i)] = x;
    }
}

// The second half are up: the activated gate times up.
template <int tiles>
void multiply_by_up() {
#pragma GCC unroll 32
    for (int i = 0; i < COUNT * tiles; ++i) {
        const int up = i + COUNT * tiles;
        vFloat y = dst_reg[at(up)] * dst_reg[factor(i)];
        y = y * dst_reg[weight_scale(up)];
        dst_reg[at(i)] = dst_reg[at(i)] * y;
    }
}

}  // namespace
#endif

}  // namespace epilogue
