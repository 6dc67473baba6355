// Softmax attention of up to kQueryTile queries over one paged key/value head. Written once over the Vec16 that an
// instruction set has included before.
//
// The arithmetic of a query, in an order that depends on its own context alone:
//
//     score_j = (q . k_j) * scale                16 lanes over the dimensions
//     p_j     = exp(score_j - max of scores)     the maximum of the whole row, not a running one
//     total   = sum of p_j                       16 lanes over the positions
//     out     = sum of p_j * v_j / total         fused multiply-add in the order of positions
//
// The scores of a whole context are kept (4 bytes a position), so no running maximum is needed and no sum is rescaled.
// Queries are worked on together only to load keys and values less often: from memory once for a tile, from the
// first-level cache once for each group of queries. All queries take a few positions before the next ones are read. No
// query's arithmetic depends on its neighbours.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// How far ahead of their use keys and values are asked for, in bytes, if several groups of queries read them: while the
// later groups compute, nothing else would be read. Measured with AVX2 alone. AVX-512 has larger groups, and keeps
// its order.
constexpr std::size_t kCacheAhead = kAccumulators == 16 ? 0 : 4096;

// Positions whose keys, or values, are used for all queries before the next ones are read. With AVX-512, the sums of
// values stay in registers for a whole block of the cache instead.
constexpr std::size_t kKeyRows = 4, kValueRows = kAccumulators == 16 ? ~std::size_t{0} : 4;

// Asks for what lies ahead of `count` rows. Each group of queries asks for its share, here n of the queries first..last
// (exclusive) from query i on, so that the requests are spread.
inline void ask_ahead(const AttentionTile& tile, const float* rows, std::size_t count, std::size_t first,
                      std::size_t last, std::size_t i, std::size_t n) {
    if (kCacheAhead == 0) return;
    const std::size_t lines = count * tile.layout.head_stride / 16, queries = last - first;
    for (std::size_t line = (i - first) * lines / queries; line < (i + n - first) * lines / queries; ++line)
        prefetch(reinterpret_cast<const std::uint8_t*>(rows + 16 * line), kCacheAhead);
}

// Splits the positions begin..end where a block of the cache ends. Calls body(position, count, row) for each run of
// consecutive positions in one block; row is the offset in floats of the first one in the keys or values.
template <typename Body>
inline void for_each_run(const AttentionTile& tile, std::size_t begin, std::size_t end, Body body) {
    while (begin < end) {
        const std::size_t block_size = tile.layout.block_size, slot = begin % block_size, rest = block_size - slot;
        const std::size_t count = end - begin < rest ? end - begin : rest;
        const std::size_t block = static_cast<std::size_t>(tile.blocks[begin / block_size]);
        body(begin, count, block_offset(tile.layout, block) + slot * tile.layout.head_stride);
        begin += count;
    }
}

// Calls body(query, n) for queries first..last (exclusive) in groups of n: kMax, then smaller powers of two. n is a
// compile-time constant.
template <std::size_t kMax, typename Body>
BITNET_INLINE inline void for_each_group(std::size_t first, std::size_t last, Body body) {
    for (; first + kMax <= last; first += kMax) body(first, Count<kMax>());
    if constexpr (kMax > 1) for_each_group<kMax / 2>(first, last, body);
}

// Computes q . k of kQueries queries from query `first` on and kKeys (4 or 1) keys. Keys are the outer loop, so they
// are read in the order of addresses. Four keys, because sum4 costs less than four sums.
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

// Computes q . k of queries first..last and the keys of positions begin..end (all exclusive).
inline void score(const AttentionTile& tile, std::size_t first, std::size_t last, std::size_t begin, std::size_t end) {
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t count, std::size_t row) {
        const float* keys = tile.keys + row;
        // As many queries together as have registers for their sums with four keys.
        for (; count >= kKeyRows; count -= kKeyRows, position += kKeyRows, keys += kKeyRows * tile.layout.head_stride)
            for_each_group<kAccumulators / kKeyRows>(first, last, [&](std::size_t i, auto n) {
                ask_ahead(tile, keys, kKeyRows, first, last, i, n.value);
                score_keys<n.value, kKeyRows>(tile, i, keys, position);
            });
        for (; count > 0; --count, ++position, keys += tile.layout.head_stride)
            for_each_group<kAccumulators / kKeyRows>(
                first, last, [&](std::size_t i, auto n) { score_keys<n.value, 1>(tile, i, keys, position); });
    });
}

// Turns a row of n products q . k into p_j in place, and returns their sum.
inline float softmax_numerators(float* scores, std::size_t n, float scale) {
    // The maximum: first whole vectors, then the remaining scores one by one. Loaded as a vector, they would come with
    // zeros in the other lanes, which may be larger.
    Vec16 lane_maxima = broadcast(-__builtin_inff());
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        const Vec16 scaled = mul(load_lanes(scores + i, lanes), broadcast(scale));
        store_lanes(scores + i, scaled, lanes);
        if (lanes == 16) lane_maxima = max(scaled, lane_maxima);
    });
    float maximum = largest(lane_maxima);
    for (std::size_t i = n / 16 * 16; i < n; ++i) maximum = scores[i] > maximum ? scores[i] : maximum;
    // The numbers are stored and loaded again before they are added: exp of an unused lane is not 0, but it loads as 0.
    Vec16 total = zero();
    for_each_16(n, [&](std::size_t i, std::size_t lanes) {
        store_lanes(scores + i, exponential(sub(load_lanes(scores + i, lanes), broadcast(maximum))), lanes);
        total = add(total, load_lanes(scores + i, lanes));
    });
    return sum(total);
}

// Adds p_j * v_j of `count` positions to the sums of kQueries queries, for 16 * kVectors of the dimensions. The sums
// are loaded to registers, take all positions of the run, and are stored again, which changes no bit of a float32.
template <std::size_t kQueries, std::size_t kVectors>
inline void add_rows(const AttentionTile& tile, const float* values, std::size_t count, const float* p,
                     float* stored_sums) {
    Vec16 sums[kQueries][kVectors];
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        BITNET_UNROLL
        for (std::size_t c = 0; c < kVectors; ++c)
            sums[i][c] = load(stored_sums + i * tile.layout.head_stride + 16 * c);
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
        for (std::size_t c = 0; c < kVectors; ++c)
            store(stored_sums + i * tile.layout.head_stride + 16 * c, sums[i][c]);
    }
}

// Adds p_j * v_j of positions begin..end to the sums of queries first..last (all exclusive). Two queries at a time,
// with as many dimensions as the registers have room for.
inline void add_values(const AttentionTile& tile, std::size_t first, std::size_t last, std::size_t begin,
                       std::size_t end) {
    constexpr std::size_t kVectors = kAccumulators / 2;
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t left, std::size_t row) {
        const float* values = tile.values + row;
        while (left > 0) {
            const std::size_t count = left < kValueRows ? left : kValueRows;
            for_each_group<2>(first, last, [&](std::size_t i, auto n) {
                ask_ahead(tile, values, count, first, last, i, n.value);
                const float* p = tile.scores + i * tile.scores_stride + position;
                float* sums = tile.sums + i * tile.layout.head_stride;
                std::size_t d = 0;
                for (; d + 16 * kVectors <= tile.layout.head_stride; d += 16 * kVectors)
                    add_rows<n.value, kVectors>(tile, values + d, count, p, sums + d);
                for (; d < tile.layout.head_stride; d += 16) add_rows<n.value, 1>(tile, values + d, count, p, sums + d);
            });
            left -= count;
            position += count;
            values += count * tile.layout.head_stride;
        }
    });
}

void attend(const AttentionTile& tile) {
    // Queries of one text see contexts of different lengths. The positions that all of them see (`shared`) are done for
    // all queries at once, those beyond them one query at a time. Both ways give the same bits.
    std::size_t shared = tile.contexts[0];
    for (std::size_t i = 1; i < tile.count; ++i) shared = tile.contexts[i] < shared ? tile.contexts[i] : shared;
    score(tile, 0, tile.count, 0, shared);
    float totals[kQueryTile];
    for (std::size_t i = 0; i < tile.count; ++i) {
        score(tile, i, i + 1, shared, tile.contexts[i]);
        totals[i] = softmax_numerators(tile.scores + i * tile.scores_stride, tile.contexts[i], tile.scale);
        for (std::size_t d = 0; d < tile.layout.head_stride; d += 16)
            store(tile.sums + i * tile.layout.head_stride + d, zero());
    }
    add_values(tile, 0, tile.count, 0, shared);
    for (std::size_t i = 0; i < tile.count; ++i) {
        add_values(tile, i, i + 1, shared, tile.contexts[i]);
        const Vec16 total = broadcast(totals[i]);
        for_each_16(tile.head_dim, [&](std::size_t d, std::size_t lanes) {
            store_lanes(tile.outputs[i] + d, div(load(tile.sums + i * tile.layout.head_stride + d), total), lanes);
        });
    }
}

}  // namespace
}  // namespace bitnet
