// A tile: 32 x 32 elements of a matrix, stored as four faces of 16 x 16 elements, upper left, upper right, lower left,
// lower right. A face is stored row by row. So a row of a tile is two runs of 16 elements: its left half and its right
// half, which lie one face apart.
#pragma once

#include <stdint.h>

namespace tile {

constexpr uint32_t SIDE = 32, FACE = 16, ELEMENTS = SIDE * SIDE;

template <uint32_t element_bytes>
constexpr uint32_t BYTES = ELEMENTS * element_bytes;

// Half a row of a tile.
template <uint32_t element_bytes>
constexpr uint32_t HALF_ROW_BYTES = FACE * element_bytes;

// The distance from the left half of a row to its right half.
template <uint32_t element_bytes>
constexpr uint32_t RIGHT_HALF = FACE * FACE * element_bytes;

// The byte of a tile where the left half of a row begins. `row` may count the rows of a whole matrix.
template <uint32_t element_bytes>
constexpr uint32_t row_offset(uint32_t row) {
    return (row % SIDE / FACE * 2 * FACE + row % FACE) * HALF_ROW_BYTES<element_bytes>;
}

// The row and the column of the element that is stored at `index`.
constexpr uint32_t row_of(uint32_t index) { return index / (2 * FACE * FACE) * FACE + index / FACE % FACE; }
constexpr uint32_t column_of(uint32_t index) { return index / (FACE * FACE) % 2 * FACE + index % FACE; }

}  // namespace tile
