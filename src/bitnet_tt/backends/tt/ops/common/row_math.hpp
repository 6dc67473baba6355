// RMSNorm and the absmax quantiser on the vector unit, a page at a time. See vectors.hpp for how a page lies in Dest.
//
// A page is a tile of Dest: 64 lines of 16 elements. Either it has one row, 1024 elements of it in order. Or it has 4
// or 8 rows (LINES): then neighbouring lines are the same 16 elements of these rows, so a vector has one line of each
// of four rows. A set is four rows that are computed together.
//
// Three tiles of Dest are used: X holds a page of the rows, Y the same elements of the norm's gain, STATS holds values
// of whole rows. Each statistic has one vector for each set. At the end of a measurement all lanes of a row have the
// same value; with one row that is the whole vector.
//
// A row's result depends neither on other rows nor on LINES: every sum is taken in the order of one row alone. There,
// line i of the sum collects the elements of every fourth line, from line i on. Then its 8 lanes are added, and then
// the four lines. With more rows in a page, there are four sums instead of four lines.
#pragma once

#include "api/compute/eltwise_unary/recip.h"
#include "api/compute/eltwise_unary/rsqrt.h"
#include "arguments.hpp"
#include "lanes.hpp"
#include "vectors.hpp"

namespace {

constexpr int LINES = CONSTANT("lines");
constexpr int SETS = LINES == 8 ? 2 : 1;
static_assert(LINES == 1 || LINES == 4 || LINES == 8);

}  // namespace

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

constexpr int X = 0, Y = 1 * vectors::PER_TILE, STATS = 2 * vectors::PER_TILE;

// Vectors of STATS, each for up to two sets: the largest magnitude (absmax), 1 / rms, 127 / absmax; four sums of
// squares for each set; and four vectors in which spread_lines leaves its result.
constexpr int LARGEST = STATS, INVERSE = STATS + 2, SCALE = STATS + 4, SUMS = STATS + 8, SPREAD = STATS + 16;

constexpr float MIN_LARGEST = 1e-5f, QUANTIZER_MAX = 127.0f;
constexpr float INVERSE_WIDTH = __builtin_bit_cast(float, CONSTANT("inverse_width_bits"));
constexpr float NORM_EPS = __builtin_bit_cast(float, CONSTANT("eps_bits"));

// The set of vector i of a page.
constexpr int set_of(int i) { return i / 2 % SETS; }

// ---- Reduce a vector: first the 8 lanes of each of its 4 lines, then the 4 lines.

// Copy line i of a vector to all four lines of the vector SPREAD + i.
template <int from>
void spread_lines() {
    transpose_lines<from, from, from, from, SPREAD, 1>();
}

// ---- Measure rows, page after page in X.

// Set the statistics before the measurement. INVERSE stays 1 if there is no norm.
void clear_stats() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        dst_reg[LARGEST + set] = 0.0f;
        dst_reg[INVERSE + set] = 1.0f;
    }
#pragma GCC unroll 8
    for (int sum = 0; sum < 4 * SETS; ++sum) {
        dst_reg[SUMS + sum] = 0.0f;
    }
}

// Add the squares of a page to the sums. One row has one sum, SUMS. Of more rows, sum 4 * set + i belongs to the lines
// of every fourth run of 16 elements, from run i on.
void add_squares() {
    constexpr int SUM_COUNT = LINES == 1 ? 1 : 4 * SETS;
#pragma GCC unroll 8
    for (int index = 0; index < SUM_COUNT; ++index) {
        vFloat sum = dst_reg[SUMS + index];
#pragma GCC unroll 32
        for (int i = 0; i < vectors::PER_TILE; ++i) {
            if (LINES == 1 || index == 4 * set_of(i) + i / 2 / SETS % 4) {
                vFloat x = dst_reg[X + i];
                sum = x * x + sum;
            }
        }
        dst_reg[SUMS + index] = sum;
    }
}

// Add the lanes of each line of each sum, and leave the result in all of them.
void add_lanes_of_lines() {
#pragma GCC unroll 8
    for (int index = 0; index < (LINES == 1 ? 1 : 4 * SETS); ++index) {
        vFloat sum = dst_reg[SUMS + index];
        sum = sum + rotated<4>(sum);
        sum = sum + rotated<2>(sum);
        sum = sum + rotated<1>(sum);
        dst_reg[SUMS + index] = sum;
    }
}

// INVERSE = 1 / sqrt(mean of squares + eps). The four parts of a sum are the spread lines of it, or the four sums.
void take_inverse() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        const int parts = LINES == 1 ? SPREAD : SUMS + 4 * set;
        vFloat upper = vFloat(dst_reg[parts]) + dst_reg[parts + 1];
        vFloat lower = vFloat(dst_reg[parts + 2]) + dst_reg[parts + 3];
        vFloat sum = upper + lower;
        dst_reg[INVERSE + set] = sum * INVERSE_WIDTH;
        vFloat shifted = vFloat(dst_reg[INVERSE + set]) + NORM_EPS;
        dst_reg[INVERSE + set] = ckernel::sfpu::_calculate_sqrt_body_<false, true, true>(shifted);
    }
}

// ---- Normalise a page, which costs less than to keep it: it is computed twice, for the absmax and for the result.

// The vector of Y that has the gain of vector i of X.
constexpr int gain_of(int i) {
    if (LINES == 1) {
        return Y + i;
    }
    const int run = i / (2 * SETS);  // of 16 elements; its vectors are neighbours in X
    return Y + 4 * (run / 4 * 2 + i % 2) + run % 4;
}

// Vector v of Y has the gain of four runs of 16 elements, a line each. Make vectors 4 * v to 4 * v + 3 of them, with
// the same line four times. The last ones first: what is overwritten has been read.
template <int v = vectors::PER_TILE / LINES>
void spread_gain() {
    if constexpr (LINES > 1 && v > 0) {
        constexpr int from = Y + v - 1;
        transpose_lines<from, from, from, from, Y + 4 * (v - 1), 1>();
        spread_gain<v - 1>();
    }
}

// Vector i of X, times 1 / rms and times the gain. Without a norm, X itself.
template <bool has_gain>
sfpi_inline vFloat normalized(int i, vFloat inverse) {
    vFloat x = dst_reg[X + i];
    if constexpr (has_gain) {
        x = x * inverse;
        x = x * dst_reg[gain_of(i)];
    }
    return x;
}

template <bool has_gain>
void normalize() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        vFloat inverse = dst_reg[INVERSE + set];
#pragma GCC unroll 32
        for (int i = 0; i < vectors::PER_TILE; ++i) {
            if (set_of(i) == set) {
                dst_reg[X + i] = normalized<has_gain>(i, inverse);
            }
        }
    }
}

template <bool has_gain>
void find_largest() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        vFloat inverse = dst_reg[INVERSE + set], largest = dst_reg[LARGEST + set];
#pragma GCC unroll 32
        for (int i = 0; i < vectors::PER_TILE; ++i) {
            if (set_of(i) == set) {
                largest = larger(largest, abs(normalized<has_gain>(i, inverse)));
            }
        }
        dst_reg[LARGEST + set] = largest;
    }
}

void compare_lanes_of_lines() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        vFloat largest = dst_reg[LARGEST + set];
        largest = larger(largest, rotated<4>(largest));
        largest = larger(largest, rotated<2>(largest));
        largest = larger(largest, rotated<1>(largest));
        dst_reg[LARGEST + set] = largest;
    }
}

// LARGEST = absmax, at least 1e-5, and SCALE = 127 / absmax. One row's absmax is the largest of the spread lines.
void take_scale() {
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        vFloat largest = dst_reg[LARGEST + set];
        if constexpr (LINES == 1) {
            largest = larger(dst_reg[SPREAD], dst_reg[SPREAD + 1]);
            largest = larger(largest, dst_reg[SPREAD + 2]);
            largest = larger(largest, dst_reg[SPREAD + 3]);
        }
        largest = larger(largest, MIN_LARGEST);
        dst_reg[LARGEST + set] = largest;
        dst_reg[SCALE + set] = ckernel::sfpu::sfpu_reciprocal_iter<2>(dst_reg[LARGEST + set]) * QUANTIZER_MAX;
    }
}

// X = round(normalised X * SCALE), half to even. The magnitude is at most 127.5, so adding 2^23 rounds it. It is a
// value of its own: the compiler would fuse product and addition into one instruction, with one rounding less.
template <bool has_gain>
void quantize() {
    constexpr float SHIFT = 0x1p23f;
#pragma GCC unroll 2
    for (int set = 0; set < SETS; ++set) {
        vFloat inverse = dst_reg[INVERSE + set], scale = dst_reg[SCALE + set];
#pragma GCC unroll 32
        for (int i = 0; i < vectors::PER_TILE; ++i) {
            if (set_of(i) == set) {
                vFloat x = normalized<has_gain>(i, inverse) * scale;
                vFloat rounded = abs(x) + SHIFT;
                rounded = rounded - SHIFT;
                dst_reg[X + i] = copysgn(rounded, x);
            }
        }
    }
}

}  // namespace
#endif
