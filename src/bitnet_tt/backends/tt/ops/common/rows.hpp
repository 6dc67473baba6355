// Rows between tiles and buffers of consecutive elements. In a tile 16 of a row's elements lie together.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "tile.hpp"

namespace rows {

// A row of some tiles from `first` on, each with the row at byte `offset`, to L1.
template <uint32_t element, typename Accessor>
inline void read(const Accessor& tensor, uint32_t first, uint32_t tiles, uint32_t offset, uint32_t to) {
    for (uint32_t page = first; page < first + tiles; ++page) {
        const uint64_t from = tensor.get_noc_addr(page, offset);
        noc_async_read(from, to, FACE_ROW<element>);
        noc_async_read(from + NEXT_FACE<element>, to + FACE_ROW<element>, FACE_ROW<element>);
        to += 2 * FACE_ROW<element>;
    }
}

// Likewise from L1; returns where the next begins.
template <uint32_t element, typename Accessor>
inline uint32_t write(const Accessor& tensor, uint32_t first, uint32_t tiles, uint32_t offset, uint32_t from) {
    for (uint32_t page = first; page < first + tiles; ++page) {
        const uint64_t to = tensor.get_noc_addr(page, offset);
        noc_async_write(from, to, FACE_ROW<element>);
        noc_async_write(from + FACE_ROW<element>, to + NEXT_FACE<element>, FACE_ROW<element>);
        from += 2 * FACE_ROW<element>;
    }
    return from;
}

// Sets the elements of a buffer's row from one on.
inline void fill(uint32_t buffer, uint32_t from, uint32_t pages, uint32_t word) {
    const auto words = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(get_write_ptr(buffer));
    for (uint32_t index = from; index < pages * PAGE; ++index) {
        words[index] = word;
    }
}

}  // namespace rows
