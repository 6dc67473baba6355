// Softmax attention of a few queries over one paged key/value head, over the Vec16 in scope.
//
// Each query sees its full row of scores: score = (q . k) * scale, p = exp(score - max), sum of p in 16 lanes over the
// positions, then sum(p_j * v_j) by fused multiply-add in order of position, divided by the sum. Queries are worked on
// together only to load keys and values once; no query's arithmetic depends on its neighbours.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// Calls body(position, count, row) for runs of consecutive positions in begin..end that lie in one block, where row is
// the offset of the first one in the keys or values.
template <typename Body>
inline void for_each_run(const AttentionTile& tile, std::size_t begin, std::size_t end, Body body) {
    while (begin < end) {
        const std::size_t block_size = tile.layout.block_size, slot = begin % block_size, left = block_size - slot;
        const std::size_t count = end - begin < left ? end - begin : left;
        const std::size_t block = static_cast<std::size_t>(tile.blocks[begin / block_size]);
        body(begin, count, block_offset(tile.layout, block) + slot * tile.layout.head_stride);
        begin += count;
    }
}

// Scores of kQueries queries from query `first` against kKeys (4 or 1) keys, which are read one after the other.
template <std::size_t kQueries, std::size_t kKeys>
inline void score_keys(const AttentionTile& tile, std::size_t first, const float* keys, std::size_t position) {
    Vec16 sums[kQueries][kKeys] = {};
    BITNET_UNROLL
    for (std::size_t j = 0; j < kKeys; ++j) {
        for (std::size_t d = 0; d < tile.layout.head_stride; d += 16) {
            const Vec16 k = load(keys + j * tile.layout.head_stride + d);
            BITNET_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i)
                sums[i][j] = fma(load(tile.queries[first + i] + d), k, sums[i][j]);
        }
    }
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        float* scores = tile.scores + (first + i) * tile.scores_stride + position;
        if constexpr (kKeys == 4) {
            sum4(sums[i], scores);
        } else {
            scores[0] = sum(sums[i][0]);
        }
    }
}

// Scores kQueries queries from query `first` against the keys of positions begin..end. A block is read from memory once
// and in the order of addresses, and stays in the first-level cache for the other queries.
template <std::size_t kQueries>
inline void score(const AttentionTile& tile, std::size_t first, std::size_t begin, std::size_t end) {
    constexpr std::size_t kMost = kAccumulators / 4;  // queries whose dot products fit the registers
    constexpr std::size_t kTogether = kQueries < kMost ? kQueries : kMost;
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t count, std::size_t row) {
        const float* keys = tile.keys + row;
        for (std::size_t i = first; i < first + kQueries; i += kTogether) {
            std::size_t j = 0;
            for (; j + 4 <= count; j += 4)
                score_keys<kTogether, 4>(tile, i, keys + j * tile.layout.head_stride, position + j);
            for (; j < count; ++j) score_keys<kTogether, 1>(tile, i, keys + j * tile.layout.head_stride, position + j);
        }
    });
}

// Turns a row of q . k into exp(score - max); returns the sum.
inline float softmax_numerators(float* scores, std::size_t n, float scale) {
    Vec16 highest = broadcast(-__builtin_inff());
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        const Vec16 scaled = mul(load_lanes(scores + i, lanes), broadcast(scale));
        store_lanes(scores + i, scaled, lanes);
        if (lanes == 16) highest = max(scaled, highest);
    });
    float top = largest(highest);
    for (std::size_t i = n / 16 * 16; i < n; ++i) top = scores[i] > top ? scores[i] : top;
    Vec16 total = zero();
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        store_lanes(scores + i, exponential(sub(load_lanes(scores + i, lanes), broadcast(top))), lanes);
        total = add(total, load_lanes(scores + i, lanes));
    });
    return sum(total);
}

// Adds p_j * v_j of `count` rows of values to 16 * kVectors dimensions of kQueries sums.
template <std::size_t kQueries, std::size_t kVectors>
inline void add_rows(const AttentionTile& tile, const float* values, std::size_t count, const float* p, float* memory) {
    Vec16 sums[kQueries][kVectors];
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        BITNET_UNROLL
        for (std::size_t c = 0; c < kVectors; ++c) sums[i][c] = load(memory + i * tile.layout.head_stride + 16 * c);
    }
    for (std::size_t j = 0; j < count; ++j, values += tile.layout.head_stride, ++p) {
        Vec16 weight[kQueries];
        BITNET_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i) weight[i] = broadcast(p[i * tile.scores_stride]);
        BITNET_UNROLL
        for (std::size_t c = 0; c < kVectors; ++c) {
            const Vec16 v = load(values + 16 * c);
            BITNET_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i) sums[i][c] = fma(weight[i], v, sums[i][c]);
        }
    }
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        BITNET_UNROLL
        for (std::size_t c = 0; c < kVectors; ++c) store(memory + i * tile.layout.head_stride + 16 * c, sums[i][c]);
    }
}

// Adds p_j * v_j for positions begin..end to the tile's sums, block by block as `score` does.
template <std::size_t kQueries>
inline void add_values(const AttentionTile& tile, std::size_t first, std::size_t begin, std::size_t end) {
    constexpr std::size_t kTogether = kQueries < 2 ? kQueries : 2, kVectors = kAccumulators / 2;
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t count, std::size_t row) {
        for (std::size_t i = first; i < first + kQueries; i += kTogether) {
            const float *values = tile.values + row, *p = tile.scores + i * tile.scores_stride + position;
            float* memory = tile.sums + i * tile.layout.head_stride;
            std::size_t d = 0;
            for (; d + 16 * kVectors <= tile.layout.head_stride; d += 16 * kVectors)
                add_rows<kTogether, kVectors>(tile, values + d, count, p, memory + d);
            for (; d < tile.layout.head_stride; d += 16) add_rows<kTogether, 1>(tile, values + d, count, p, memory + d);
        }
    });
}

void attend(const AttentionTile& tile) {
    constexpr std::size_t kHalf = kQueryTile / 2;
    // Positions that all queries of a full or half tile see are scored and summed for all of them at once.
    std::size_t shared = tile.contexts[0];
    for (std::size_t i = 1; i < tile.count; ++i) shared = tile.contexts[i] < shared ? tile.contexts[i] : shared;
    if (tile.count != kQueryTile && tile.count != kHalf) shared = 0;
    const bool full = tile.count == kQueryTile;
    if (shared > 0) full ? score<kQueryTile>(tile, 0, 0, shared) : score<kHalf>(tile, 0, 0, shared);
    float totals[kQueryTile];
    for (std::size_t i = 0; i < tile.count; ++i) {
        score<1>(tile, i, shared, tile.contexts[i]);
        totals[i] = softmax_numerators(tile.scores + i * tile.scores_stride, tile.contexts[i], tile.scale);
        for (std::size_t d = 0; d < tile.layout.head_stride; d += 16)
            store(tile.sums + i * tile.layout.head_stride + d, zero());
    }
    if (shared > 0) full ? add_values<kQueryTile>(tile, 0, 0, shared) : add_values<kHalf>(tile, 0, 0, shared);
    for (std::size_t i = 0; i < tile.count; ++i) {
        add_values<1>(tile, i, shared, tile.contexts[i]);
        const Vec16 total = broadcast(totals[i]);
        for_each_16(tile.head_dim, [&](std::size_t d, std::size_t lanes) {
            store_lanes(tile.outputs[i] + d, div(load(tile.sums + i * tile.layout.head_stride + d), total), lanes);
        });
    }
}

}  // namespace
}  // namespace bitnet
