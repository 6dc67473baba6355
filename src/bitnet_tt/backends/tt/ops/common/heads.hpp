// The layout of attention's queries and results: a tiled tensor [sequences, kv_heads, group * tokens, head_dim].
//
// A matrix of it belongs to one KV head of one sequence. Its rows are the query heads that share the KV head, each with
// all tokens of the sequence: row = head in the group * tokens + token.
#pragma once

#include <stdint.h>

#include "tile.hpp"

namespace heads {

struct Layout {
    uint32_t kv_heads;
    uint32_t group;    // query heads that share a KV head
    uint32_t tokens;   // of a sequence
    uint32_t columns;  // head_dim / 32

    // The row in its matrix that a query head of a row of hidden states has.
    uint32_t matrix_row(uint32_t row, uint32_t head) const { return head % group * tokens + row % tokens; }

    // The page with the first tile of that row.
    uint32_t first_tile(uint32_t row, uint32_t head) const {
        const uint32_t row_tiles = (group * tokens + tile::SIDE - 1) / tile::SIDE;
        const uint32_t matrix = row / tokens * kv_heads + head / group;
        return (matrix * row_tiles + matrix_row(row, head) / tile::SIDE) * columns;
    }
};

}  // namespace heads
