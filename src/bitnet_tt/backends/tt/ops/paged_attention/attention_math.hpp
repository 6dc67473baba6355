// The steps of paged_attention on the vector unit. See common/vectors.hpp for how a page lies in Dest.
//
// The four faces of a tile of keys or values follow one another, so a line of a vector is half a row of it: 16 features
// of one position. A vector has the even or the odd features of four neighbouring positions: a quad. Scores,
// exponentials and sums of values keep the four lines apart, and at the end of a part the lines are added.
#pragma once

#include "../common/arguments.hpp"
#include "../common/exponential.hpp"
#include "../common/lanes.hpp"
#include "../common/vectors.hpp"
#include "api/compute/eltwise_unary/recip.h"
#include "parts.hpp"

// Tiles of Dest.
constexpr uint32_t X_TILE = 0, STATS_TILE = 1, SCORES_TILE = 2, QUERIES_TILE = 4;

constexpr int HEADS = parts::HEADS;      // query heads of a group: 1 to 4
constexpr int COLUMNS = parts::COLUMNS;  // tiles of a head: at most 8

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

// A chunk is 16 features of a head: one line. A quad is four neighbouring positions of a part.
constexpr int CHUNKS = 2 * COLUMNS, QUADS = parts::LENGTH / 4;

// X has a tile of keys or values, or rows of queries or of results: the heads of the group, one after another.
constexpr int X = vectors::PER_TILE * X_TILE, STATS = vectors::PER_TILE * STATS_TILE;

// Vectors of STATS. The results for each head of a part: the maximum of its scores, and the total of its exponentials.
constexpr int maximum(int head) { return STATS + 2 * head; }
constexpr int total(int head) { return maximum(head) + 1; }

// From the reader: in line i the number of open positions, less i, plus OPEN_OFFSET.
constexpr int OPEN = STATS + 8;
constexpr float OPEN_OFFSET = 8388608.0f + parts::LENGTH;
// From the reader: in lane i of each line 1.0 if bit `bit` of i is 0 (low) or 1 (high), else 0.0.
constexpr int low_lanes(int bit) { return OPEN + 2 + 2 * bit; }
constexpr int high_lanes(int bit) { return low_lanes(bit) + 1; }

constexpr int LINES = STATS + 16;  // four vectors in which transpose_lines leaves its result

// The scores of a quad, and later their exponentials: in the end every lane of a line has that of the line's position.
constexpr int score(int head, int quad) { return vectors::PER_TILE * (SCORES_TILE + head / 2) + 2 * quad + head % 2; }

// The even or odd (parity 1) features of a chunk of a head, in all lines: the query, and later the sums of values.
constexpr int chunk(int head, int index, int parity) {
    return vectors::PER_TILE * QUERIES_TILE + 2 * (head * CHUNKS + index) + parity;
}

// Where a tile holds the features of the chunks 2 * column + right of the quads 0 to 3, or 4 to 7 (lower). Each further
// quad lies 2 vectors behind.
constexpr int in_tile(int lower, int right, int parity) { return X + 16 * lower + 8 * right + parity; }

constexpr float MASKED = -1e30f;
constexpr float SCALE = __builtin_bit_cast(float, CONSTANT("scale_bits"));  // 1 / sqrt(head_dim)

// From now on dst_reg[i] means vector i + n, until `rewind`. One instruction adds at most 3.
sfpi_inline void rewind() { TTI_SETRWC(ckernel::p_setrwc::CLR_NONE, 0, 0, 0, 0, ckernel::p_setrwc::SET_D); }
inline void skip_columns(uint32_t columns) {
    for (uint32_t column = 0; column < columns; ++column) {
        dst_reg += 2;
        dst_reg += 2;
    }
}

// ---- Prepare a part. X has the query heads.

void scale_queries() {
#pragma GCC unroll 32
    for (int i = 0; i < HEADS * COLUMNS; ++i) {
        dst_reg[X + i] = dst_reg[X + i] * SCALE;
    }
}

// Copy each chunk of the queries to all four lines of a vector. Four chunks lie in the lines of one vector of X.
template <int i = 0>
void spread_queries() {
    if constexpr (i < HEADS * COLUMNS) {
        transpose_lines<X + i, X + i, X + i, X + i, chunk(0, i / 2 * 4, i % 2), 2>();
        spread_queries<i + 1>();
    }
}

// Scores begin with the mask: 0, or a large negative number for positions beyond the row's own.
void mask_scores() {
    vFloat open = dst_reg[OPEN] - OPEN_OFFSET;
    for (int quad = 0; quad < QUADS; ++quad) {
        vFloat mask = 0.0f;
        v_if(open <= 0.0f) { mask = MASKED; }
        v_endif;
        dst_reg[score(0, 0)] = mask;
        if constexpr (HEADS > 1) {
            dst_reg[score(1, 0)] = mask;
        }
        if constexpr (HEADS > 2) {
            dst_reg[score(2, 0)] = mask;
        }
        if constexpr (HEADS > 3) {
            dst_reg[score(3, 0)] = mask;
        }
        open = open - 4.0f;
        dst_reg += 2;
    }
}

// ---- Scores. X has a tile of keys of a block: 8 quads. Each lane sums the products of its own features.

template <int block, int head>
void add_scores_of_head(uint32_t column) {
    skip_columns(column);
    vFloat left_even = dst_reg[chunk(head, 0, 0)], left_odd = dst_reg[chunk(head, 0, 1)];
    vFloat right_even = dst_reg[chunk(head, 1, 0)], right_odd = dst_reg[chunk(head, 1, 1)];
    rewind();
#pragma GCC unroll 2
    for (int lower = 0; lower < 2; ++lower) {
        for (int quad = 0; quad < 4; ++quad) {
            // dst_reg is 8 * lower + 2 * quad ahead.
            vFloat sum = dst_reg[score(head, 8 * block)];
            sum = dst_reg[in_tile(lower, 0, 0) - 8 * lower] * left_even + sum;
            sum = dst_reg[in_tile(lower, 0, 1) - 8 * lower] * left_odd + sum;
            sum = dst_reg[in_tile(lower, 1, 0) - 8 * lower] * right_even + sum;
            sum = dst_reg[in_tile(lower, 1, 1) - 8 * lower] * right_odd + sum;
            dst_reg[score(head, 8 * block)] = sum;
            dst_reg += 2;
        }
    }
    rewind();
}

template <int block, int head = 0>
void add_scores(uint32_t column) {
    if constexpr (head < HEADS) {
        add_scores_of_head<block, head>(column);
        add_scores<block, head + 1>(column);
    }
}

// ---- Softmax.

// A score is the sum of the 8 lanes of a line. Sums of 8 quads are packed into one vector, lane i for quad i, so that
// one exponential serves 8 quads. Two vectors are folded into one with half the lanes of each, in three rounds: first
// pairs of neighbours, whose sums go to the even and the odd lanes, and so on. Rotating brings together the lanes to
// add.

// Fold the vectors of quads 0 and 1 << bit, of 2 << bit and 3 << bit, ... into the first of each pair.
template <int head, int bit>
void fold_scores() {
    vFloat low = dst_reg[low_lanes(bit)], high = dst_reg[high_lanes(bit)];
#pragma GCC unroll 8
    for (int quad = 0; quad < QUADS; quad += 2 << bit) {
        vFloat first = dst_reg[score(head, quad)], second = dst_reg[score(head, quad + (1 << bit))];
        vFloat swapped = second * low;
        swapped = first * high + swapped;
        vFloat sum = first * low;
        sum = second * high + sum;
        dst_reg[score(head, quad)] = sum + rotated<1 << bit>(swapped);
    }
}

// The inverse: half the lanes of a vector go to each of two.
template <int head, int bit>
void unfold_scores() {
    vFloat low = dst_reg[low_lanes(bit)], high = dst_reg[high_lanes(bit)];
#pragma GCC unroll 8
    for (int quad = 0; quad < QUADS; quad += 2 << bit) {
        vFloat both = dst_reg[score(head, quad)];
        vFloat turned = rotated<1 << bit>(both);
        vFloat first = both * low;
        dst_reg[score(head, quad)] = turned * high + first;
        vFloat second = both * high;
        dst_reg[score(head, quad + (1 << bit))] = turned * low + second;
    }
}

// Copy line i of a vector to all lines of LINES + i.
template <int from>
void spread_lines() {
    transpose_lines<from, from, from, from, LINES, 1>();
}

// Folded scores: quads 0 to 7, and 8 to 15.
constexpr int folded(int head, int half) { return score(head, 8 * half); }

template <int head>
void find_maximum_of_lines() {
    vFloat largest = larger(dst_reg[folded(head, 0)], dst_reg[folded(head, 1)]);
    largest = larger(largest, rotated<4>(largest));
    largest = larger(largest, rotated<2>(largest));
    largest = larger(largest, rotated<1>(largest));
    dst_reg[maximum(head)] = largest;
}

template <int head>
void find_maximum() {
    vFloat largest = larger(dst_reg[LINES], dst_reg[LINES + 1]);
    largest = larger(largest, dst_reg[LINES + 2]);
    largest = larger(largest, dst_reg[LINES + 3]);
    dst_reg[maximum(head)] = largest;
}

// Replace scores by exp(score - maximum).
template <int head, int half>
void take_exponentials() {
    dst_reg[folded(head, half)] = exponential::of(vFloat(dst_reg[folded(head, half)]) - dst_reg[maximum(head)]);
}

template <int head>
void add_lanes() {
    vFloat sum = vFloat(dst_reg[folded(head, 0)]) + dst_reg[folded(head, 1)];
    sum = sum + rotated<4>(sum);
    sum = sum + rotated<2>(sum);
    sum = sum + rotated<1>(sum);
    dst_reg[total(head)] = sum;
}

sfpi_inline vFloat sum_of_lines() {
    vFloat upper = vFloat(dst_reg[LINES]) + dst_reg[LINES + 1];
    vFloat lower = vFloat(dst_reg[LINES + 2]) + dst_reg[LINES + 3];
    return upper + lower;
}

template <int head = 0>
void soften() {
    if constexpr (head < HEADS) {
        fold_scores<head, 0>();
        fold_scores<head, 1>();
        fold_scores<head, 2>();
        find_maximum_of_lines<head>();
        spread_lines<maximum(head)>();
        find_maximum<head>();
        take_exponentials<head, 0>();
        take_exponentials<head, 1>();
        add_lanes<head>();
        spread_lines<total(head)>();
        dst_reg[total(head)] = sum_of_lines();
        unfold_scores<head, 2>();
        unfold_scores<head, 1>();
        unfold_scores<head, 0>();
        soften<head + 1>();
    }
}

// ---- Sums of values. X has a tile of values of a block.

// Add the products of 4 positions to the sums of one chunk of each head: sum += exponential * value.
template <int block, int right, int parity>
void add_values_of_chunk(uint32_t column) {
    vFloat sum0 = 0.0f, sum1 = 0.0f, sum2 = 0.0f, sum3 = 0.0f;
    if constexpr (block > 0) {
        skip_columns(column);
        sum0 = dst_reg[chunk(0, right, parity)];
        if constexpr (HEADS > 1) {
            sum1 = dst_reg[chunk(1, right, parity)];
        }
        if constexpr (HEADS > 2) {
            sum2 = dst_reg[chunk(2, right, parity)];
        }
        if constexpr (HEADS > 3) {
            sum3 = dst_reg[chunk(3, right, parity)];
        }
        rewind();
    }
#pragma GCC unroll 2
    for (int lower = 0; lower < 2; ++lower) {
        for (int quad = 0; quad < 4; ++quad) {
            // dst_reg is 8 * lower + 2 * quad ahead.
            vFloat value = dst_reg[in_tile(lower, right, parity) - 8 * lower];
            sum0 = value * dst_reg[score(0, 8 * block)] + sum0;
            if constexpr (HEADS > 1) {
                sum1 = value * dst_reg[score(1, 8 * block)] + sum1;
            }
            if constexpr (HEADS > 2) {
                sum2 = value * dst_reg[score(2, 8 * block)] + sum2;
            }
            if constexpr (HEADS > 3) {
                sum3 = value * dst_reg[score(3, 8 * block)] + sum3;
            }
            dst_reg += 2;
        }
    }
    rewind();
    skip_columns(column);
    dst_reg[chunk(0, right, parity)] = sum0;
    if constexpr (HEADS > 1) {
        dst_reg[chunk(1, right, parity)] = sum1;
    }
    if constexpr (HEADS > 2) {
        dst_reg[chunk(2, right, parity)] = sum2;
    }
    if constexpr (HEADS > 3) {
        dst_reg[chunk(3, right, parity)] = sum3;
    }
    rewind();
}

template <int block>
void add_values(uint32_t column) {
    add_values_of_chunk<block, 0, 0>(column);
    add_values_of_chunk<block, 0, 1>(column);
    add_values_of_chunk<block, 1, 0>(column);
    add_values_of_chunk<block, 1, 1>(column);
}

// ---- Add the four lines of a part.

// Sum the lines of four chunks at a time: the sums are the lines of one vector of X, so X has rows again.
template <int i = 0>
void add_lines() {
    if constexpr (i < HEADS * COLUMNS) {
        constexpr int first = chunk(0, i / 2 * 4, i % 2);
        transpose_lines<first, first + 2, first + 4, first + 6, LINES, 1>();
        dst_reg[X + i] = sum_of_lines();
        add_lines<i + 1>();
    }
}

// ---- Combine parts. X and STATS have results of parts: each slot has COLUMNS vectors of X, a maximum and a total. The
// next two tiles have results so far, in the same layout. In a prompt, a slot is a head of the group. In a decode step,
// the slots of X and STATS are neighbouring parts of one head, whose result is in slot 0.

constexpr int SO_FAR = vectors::PER_TILE * SCORES_TILE;

// Weights of the result so far and of the part.
constexpr int OLD_WEIGHT = LINES, WEIGHT = LINES + 1;

// Copy the first part of a head.
void begin_result() {
#pragma GCC unroll 8
    for (int i = 0; i < COLUMNS; ++i) {
        dst_reg[SO_FAR + X + i] = vFloat(dst_reg[X + i]);
    }
    dst_reg[SO_FAR + maximum(0)] = vFloat(dst_reg[maximum(0)]);
    dst_reg[SO_FAR + total(0)] = vFloat(dst_reg[total(0)]);
}

// Add the part in `slot` to a result. Parts come in their order, so the sum has one order.
template <int slot, int result>
void add_part() {
    dst_reg[OLD_WEIGHT] = vFloat(dst_reg[SO_FAR + maximum(result)]);
    dst_reg[SO_FAR + maximum(result)] = larger(dst_reg[OLD_WEIGHT], dst_reg[maximum(slot)]);
    dst_reg[OLD_WEIGHT] = exponential::of(vFloat(dst_reg[OLD_WEIGHT]) - dst_reg[SO_FAR + maximum(result)]);
    dst_reg[WEIGHT] = exponential::of(vFloat(dst_reg[maximum(slot)]) - dst_reg[SO_FAR + maximum(result)]);
    vFloat old_weight = dst_reg[OLD_WEIGHT], weight = dst_reg[WEIGHT];
    vFloat sum = dst_reg[total(slot)] * weight;
    dst_reg[SO_FAR + total(result)] = dst_reg[SO_FAR + total(result)] * old_weight + sum;
#pragma GCC unroll 8
    for (int i = 0; i < COLUMNS; ++i) {
        vFloat product = dst_reg[X + slot * COLUMNS + i] * weight;
        dst_reg[SO_FAR + X + result * COLUMNS + i] = dst_reg[SO_FAR + X + result * COLUMNS + i] * old_weight + product;
    }
}

template <int head = 0>
void add_part_of_heads() {
    if constexpr (head < HEADS) {
        add_part<head, head>();
        add_part_of_heads<head + 1>();
    }
}

// Add `count` neighbouring parts to the result of a head.
template <int slot = 0>
void add_parts_of_head(bool are_first, uint32_t count) {
    if constexpr (slot < parts::COMBINED) {
        if (slot == count) {
            return;
        }
        if (slot == 0 && are_first) {
            begin_result();
        } else {
            add_part<slot, 0>();
        }
        add_parts_of_head<slot + 1>(are_first, count);
    }
}

// Divide results by the total of their softmax.
template <int result = 0>
void divide_by_total() {
    if constexpr (result < parts::RESULT_HEADS) {
        vFloat inverse = ckernel::sfpu::sfpu_reciprocal_iter<2>(dst_reg[SO_FAR + total(result)]);
#pragma GCC unroll 8
        for (int i = result * COLUMNS; i < (result + 1) * COLUMNS; ++i) {
            dst_reg[SO_FAR + X + i] = dst_reg[SO_FAR + X + i] * inverse;
        }
        divide_by_total<result + 1>();
    }
}

}  // namespace
#endif
