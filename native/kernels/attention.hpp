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

// One or two queries read keys in the order of addresses, because they wait for memory. More queries compute for
// longer, and take tiles of two queries and four keys, with fewer loads. Vectors of one register have enough sums
// without tiles.
constexpr std::size_t kLeastForTiles = 3;

// Asks for what lies ahead of some rows of keys or values. Each of the queries first..last (exclusive) that read them
// has a share of the lines of 64 bytes, so that the requests are spread.
class Ahead {
  public:
    Ahead(const AttentionTile& tile, std::size_t rows, std::size_t first, std::size_t last)
        : lines_(rows * tile.layout.head_stride / 16),
          share_((lines_ + last - first - 1) / (last - first)),
          first_(first) {}

    // Asks for the shares of n queries from query i on.
    void ask(const float* rows, std::size_t i, std::size_t n) const {
        if (kCacheAhead == 0) return;
        const std::size_t begin = (i - first_) * share_, end = begin + n * share_;
        for (std::size_t line = begin; line < (end < lines_ ? end : lines_); ++line)
            prefetch(reinterpret_cast<const std::uint8_t*>(rows + 16 * line), kCacheAhead);
    }

  private:
    std::size_t lines_, share_, first_;
};

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

// Computes what score_keys does for two queries and four keys. The lanes of one part are summed to the end before those
// of the next: so each number that is loaded is used for several sums, and all sums have registers.
inline void score_tile(const AttentionTile& tile, std::size_t first, const float* keys, std::size_t position) {
    Vec16 lanes[2][4];
    const float *query0 = tile.queries[first], *query1 = tile.queries[first + 1];
    const std::size_t stride = tile.layout.head_stride;
    BITNET_UNROLL
    for (std::size_t part = 0; part < kParts; ++part) {
        Part sums[2][4] = {};
        for (std::size_t d = part * kPartLanes; d < stride; d += 16) {
            const Part q0 = in_register(load_part(query0 + d)), q1 = in_register(load_part(query1 + d));
            BITNET_UNROLL
            for (std::size_t j = 0; j < 4; ++j) {
                const Part k = in_register(load_part(keys + j * stride + d));
                sums[0][j] = fma(q0, k, sums[0][j]);
                sums[1][j] = fma(q1, k, sums[1][j]);
            }
        }
        BITNET_UNROLL
        for (std::size_t j = 0; j < 4; ++j) {
            set_part(lanes[0][j], part, sums[0][j]);
            set_part(lanes[1][j], part, sums[1][j]);
        }
    }
    float* scores = tile.scores + first * tile.scores_stride + position;
    sum4(lanes[0], lanes[1], scores, scores + tile.scores_stride);
}

// Computes q . k of queries first..last and the keys of positions begin..end (all exclusive).
inline void score(const AttentionTile& tile, std::size_t first, std::size_t last, std::size_t begin, std::size_t end) {
    // As many queries together as have registers for their sums with four keys.
    constexpr std::size_t kGroup = kAccumulators / kKeyRows;
    const Ahead ahead(tile, kKeyRows, first, last);
    const std::size_t tiles = kParts == 1 || last - first < kLeastForTiles ? 0 : (last - first) / 2;
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t count, std::size_t row) {
        const float* keys = tile.keys + row;
        for (; count >= kKeyRows; count -= kKeyRows, position += kKeyRows, keys += kKeyRows * tile.layout.head_stride) {
            for (std::size_t i = first; i < first + 2 * tiles; i += 2) {
                ahead.ask(keys, i, 2);
                score_tile(tile, i, keys, position);
            }
            for_each_group<kGroup>(first + 2 * tiles, last, [&](std::size_t i, auto n) {
                ahead.ask(keys, i, n.value);
                score_keys<n.value, kKeyRows>(tile, i, keys, position);
            });
        }
        for (; count > 0; --count, ++position, keys += tile.layout.head_stride)
            for_each_group<kGroup>(first, last,
                                   [&](std::size_t i, auto n) { score_keys<n.value, 1>(tile, i, keys, position); });
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

// Adds p_j * v_j of `count` positions to the sums of kQueries queries, for kCount parts of the dimensions. The sums are
// loaded to registers, take all positions of the run, and are stored again, which changes no bit of a float32.
template <std::size_t kQueries, std::size_t kCount>
inline void add_rows(const AttentionTile& tile, const float* values, std::size_t count, const float* p,
                     float* stored_sums) {
    Part sums[kQueries][kCount];
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        BITNET_UNROLL
        for (std::size_t c = 0; c < kCount; ++c)
            sums[i][c] = load_part(stored_sums + i * tile.layout.head_stride + kPartLanes * c);
    }
    for (std::size_t j = 0; j < count; ++j, values += tile.layout.head_stride, ++p) {
        Part weight[kQueries];
        BITNET_UNROLL
        for (std::size_t i = 0; i < kQueries; ++i) weight[i] = broadcast_part(p[i * tile.scores_stride]);
        BITNET_UNROLL
        for (std::size_t c = 0; c < kCount; ++c) {
            const Part v = in_register(load_part(values + kPartLanes * c));
            BITNET_UNROLL
            for (std::size_t i = 0; i < kQueries; ++i) sums[i][c] = fma(weight[i], v, sums[i][c]);
        }
    }
    BITNET_UNROLL
    for (std::size_t i = 0; i < kQueries; ++i) {
        BITNET_UNROLL
        for (std::size_t c = 0; c < kCount; ++c)
            store_part(stored_sums + i * tile.layout.head_stride + kPartLanes * c, sums[i][c]);
    }
}

// Adds p_j * v_j of positions begin..end to the sums of queries first..last (all exclusive). Two queries at a time,
// with as many dimensions as the registers have room for.
inline void add_values(const AttentionTile& tile, std::size_t first, std::size_t last, std::size_t begin,
                       std::size_t end) {
    constexpr std::size_t kCount = kPartAccumulators / 2, kStep = kCount * kPartLanes;
    const std::size_t stride = tile.layout.head_stride;
    const Ahead ahead(tile, kValueRows, first, last);
    for_each_run(tile, begin, end, [&](std::size_t position, std::size_t left, std::size_t row) {
        const float* values = tile.values + row;
        while (left > 0) {
            const std::size_t count = left < kValueRows ? left : kValueRows;
            for_each_group<2>(first, last, [&](std::size_t i, auto n) {
                ahead.ask(values, i, n.value);
                const float* p = tile.scores + i * tile.scores_stride + position;
                float* sums = tile.sums + i * stride;
                std::size_t d = 0;
                for (; d + kStep <= stride; d += kStep) add_rows<n.value, kCount>(tile, values + d, count, p, sums + d);
                for (; d < stride; d += kPartLanes) add_rows<n.value, 1>(tile, values + d, count, p, sums + d);
            });
            left -= count;
            position += count;
            values += count * stride;
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
