// What the kernels that take rows apart agree on.
#pragma once

#include <stdint.h>

namespace rows {

constexpr uint32_t TILE = 32, FACE = 16, PAGE = 1024, VECTOR = 32;

// Circular buffers. A row is some pages of each.
constexpr uint32_t FIRST = 0, SECOND = 1, GAIN = 2, SCALES = 3, ROW = 4, STATS = 5, COSINES = 6, SINES = 7;
constexpr uint32_t RESULT = 16, SUM = 17, LARGEST = 18, PLACES = 19;

// Of a row in a tile: bytes of its half in a face, from there to its other half, and where it begins.
template <uint32_t element>
constexpr uint32_t FACE_ROW = FACE * element;
template <uint32_t element>
constexpr uint32_t NEXT_FACE = FACE * FACE * element;
template <uint32_t element>
constexpr uint32_t offset(uint32_t row) {
    return (row % TILE / FACE * 2 * FACE + row % FACE) * FACE_ROW<element>;
}

}  // namespace rows
