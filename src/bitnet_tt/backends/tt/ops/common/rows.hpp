// Move rows between tiled tensors and L1, where a row's elements lie one after another. For data movement kernels.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "tile.hpp"

namespace rows {

// A row in a circular buffer is cut into pages of 1024 elements: the compute kernel takes a page for a tile.
constexpr uint32_t PAGE = tile::ELEMENTS;

constexpr uint32_t FLOAT_ONE = 0x3F800000;  // the bits of 1.0f

// A read from DRAM begins and ends at a multiple of 64 bytes, which is half a row of float32 or uint32.
constexpr uint32_t DRAM_READ = tile::HALF_ROW_BYTES<4>;

using Words = volatile tt_l1_ptr uint32_t*;

inline Words words_at(uint32_t address) { return reinterpret_cast<Words>(address); }

// Start to read one row out of `tiles` neighbouring tiles, from page `first` on, to L1. The row begins at byte `offset`
// of each tile.
template <uint32_t element_bytes, typename Accessor>
inline void read(const Accessor& tensor, uint32_t first, uint32_t tiles, uint32_t offset, uint32_t to) {
    constexpr uint32_t half = tile::HALF_ROW_BYTES<element_bytes>;
    for (uint32_t page = first; page < first + tiles; ++page) {
        const uint64_t from = tensor.get_noc_addr(page, offset);
        noc_async_read(from, to, half);
        noc_async_read(from + tile::RIGHT_HALF<element_bytes>, to + half, half);
        to += 2 * half;
    }
}

// Start to write one row from L1 into `tiles` neighbouring tiles. Returns the address in L1 behind the row.
template <uint32_t element_bytes, typename Accessor>
inline uint32_t write(const Accessor& tensor, uint32_t first, uint32_t tiles, uint32_t offset, uint32_t from) {
    constexpr uint32_t half = tile::HALF_ROW_BYTES<element_bytes>;
    for (uint32_t page = first; page < first + tiles; ++page) {
        const uint64_t to = tensor.get_noc_addr(page, offset);
        noc_async_write(from, to, half);
        noc_async_write(from + half, to + tile::RIGHT_HALF<element_bytes>, half);
        from += 2 * half;
    }
    return from;
}

// Start to copy one row within L1 into `tiles` neighbouring tiles.
inline void place(uint32_t first_tile, uint32_t tiles, uint32_t offset, uint32_t from) {
    constexpr uint32_t half = tile::HALF_ROW_BYTES<4>;
    for (uint32_t to = first_tile + offset; to < first_tile + tiles * tile::BYTES<4>; to += tile::BYTES<4>) {
        noc_async_read(get_noc_addr(from), to, half);
        noc_async_read(get_noc_addr(from + half), to + tile::RIGHT_HALF<4>, half);
        from += 2 * half;
    }
}

// Start to copy heads of a row within L1, with the halves of each exchanged.
template <uint32_t head_bytes>
inline void swap_halves(uint32_t from, uint32_t to, uint32_t heads) {
    constexpr uint32_t half = head_bytes / 2;
    for (const uint32_t end = from + heads * head_bytes; from < end; from += head_bytes, to += head_bytes) {
        noc_async_read(get_noc_addr(from), to + half, half);
        noc_async_read(get_noc_addr(from + half), to, half);
    }
}

// Set the elements of a row in a circular buffer, from element `begin` to the end of the row's last page.
inline void fill(uint32_t buffer, uint32_t begin, uint32_t pages, uint32_t word) {
    const Words words = words_at(get_write_ptr(buffer));
    for (uint32_t index = begin; index < pages * PAGE; ++index) {
        words[index] = word;
    }
}

// Read one element of a row-major uint32 tensor [1, n]. `scratch` is an L1 address with 64 free bytes.
template <typename Accessor>
inline uint32_t read_element(const Accessor& list, uint32_t index, uint32_t scratch) {
    noc_async_read(list.get_noc_addr(0, index / tile::FACE * DRAM_READ), scratch, DRAM_READ);
    noc_async_read_barrier();
    return words_at(scratch)[index % tile::FACE];
}

// Read the bits of element (row, 0) of a tiled float32 tensor [1, 1, rows, 1]. `scratch` as above.
template <typename Accessor>
inline uint32_t read_row_value(const Accessor& column, uint32_t row, uint32_t scratch) {
    noc_async_read(column.get_noc_addr(row / tile::SIDE, tile::row_offset<4>(row)), scratch, DRAM_READ);
    noc_async_read_barrier();
    return words_at(scratch)[0];
}

}  // namespace rows
