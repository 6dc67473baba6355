// Rows in strips: a row-major float32 tensor whose pages have 256 elements each of 1, 4 or 8 rows (`lines`). So a core
// reads or writes its part of the rows in few long transfers, and the pages of a row lie in different banks.
//
// Within a page, the first 16 elements of all its rows come first, then the next 16 of all, and so on. That is the
// order of tiles of as many rows, which the matrix engine takes. The last strip of a row may be longer than the row;
// nobody reads or writes the elements beyond.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

namespace strips {

constexpr uint32_t LENGTH = 256, RUN = 16;  // elements

template <uint32_t lines>
constexpr uint32_t BYTES = LENGTH * lines * 4;

// The strips of a row.
constexpr uint32_t count(uint32_t features) { return (features + LENGTH - 1) / LENGTH; }

// Call `move(page, offset in bytes, bytes)` for each transfer of elements `begin` to `end` - 1 of all rows of the first
// page and its followers. Each bound is a multiple of 16.
template <uint32_t lines, typename Move>
inline void for_each_strip(uint32_t begin, uint32_t end, Move move) {
    for (uint32_t element = begin; element < end;) {
        const uint32_t offset = element % LENGTH;
        const uint32_t elements = LENGTH - offset < end - element ? LENGTH - offset : end - element;
        move(element / LENGTH, offset * lines * 4, elements * lines * 4);
        element += elements;
    }
}

// Start to read elements `begin` to `end` - 1 of the first `lines` rows to L1.
template <uint32_t lines, typename Accessor>
inline void read(const Accessor& tensor, uint32_t begin, uint32_t end, uint32_t to) {
    for_each_strip<lines>(begin, end, [&](uint32_t page, uint32_t offset, uint32_t bytes) {
        noc_async_read(tensor.get_noc_addr(page, offset), to, bytes);
        to += bytes;
    });
}

// Start to write elements `begin` to `end` - 1 of the first `lines` rows from L1.
template <uint32_t lines, typename Accessor>
inline void write(const Accessor& tensor, uint32_t begin, uint32_t end, uint32_t from) {
    for_each_strip<lines>(begin, end, [&](uint32_t page, uint32_t offset, uint32_t bytes) {
        noc_async_write(from, tensor.get_noc_addr(page, offset), bytes);
        from += bytes;
    });
}

// Call `move(page, offset in bytes, bytes)` for each transfer of elements `begin` to `end` - 1 of one row. Each bound
// is a multiple of 16.
template <uint32_t lines, typename Move>
inline void for_each_run(uint32_t features, uint32_t row, uint32_t begin, uint32_t end, Move move) {
    const uint32_t first = row / lines * count(features);
    if constexpr (lines == 1) {
        for_each_strip<1>(begin, end,
                          [&](uint32_t page, uint32_t offset, uint32_t bytes) { move(first + page, offset, bytes); });
    } else {
        for (uint32_t element = begin; element < end; element += RUN) {
            const uint32_t run = element % LENGTH / RUN * lines + row % lines;
            move(first + element / LENGTH, run * RUN * 4, RUN * 4);
        }
    }
}

// Start to read elements `begin` to `end` - 1 of one row to L1.
template <uint32_t lines, typename Accessor>
inline void read_row(const Accessor& tensor, uint32_t features, uint32_t row, uint32_t begin, uint32_t end,
                     uint32_t to) {
    for_each_run<lines>(features, row, begin, end, [&](uint32_t page, uint32_t offset, uint32_t bytes) {
        noc_async_read(tensor.get_noc_addr(page, offset), to, bytes);
        to += bytes;
    });
}

// Start to write elements `begin` to `end` - 1 of one row from L1.
template <uint32_t lines, typename Accessor>
inline void write_row(const Accessor& tensor, uint32_t features, uint32_t row, uint32_t begin, uint32_t end,
                      uint32_t from) {
    for_each_run<lines>(features, row, begin, end, [&](uint32_t page, uint32_t offset, uint32_t bytes) {
        noc_async_write(from, tensor.get_noc_addr(page, offset), bytes);
        from += bytes;
    });
}

}  // namespace strips
