// A table of bfloat16 rows: the embedding or the lm_head.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// In memory, or in a mapped file. It owns neither. Rows of a file can be read without touching the mapping. A page that
// is touched stays in this process's memory together with its neighbours, so a few rows each step would soon bring in
// the whole table.
struct Bfloat16Table {
    const std::uint8_t* data;  // [rows, columns] at any alignment
    std::size_t columns;
    int file = -1;             // its descriptor, or -1 for a table in memory
    std::uint64_t offset = 0;  // bytes from the start of the file to the data

    std::size_t row_bytes() const { return 2 * columns; }
    bool in_file() const { return file >= 0; }
    // Returns the rows from `row` on, in memory or in the mapping.
    const std::uint8_t* at(std::size_t row) const { return data + row * row_bytes(); }
    // Returns `count` rows from `row` on. Those of a file are read into `buffer`, [count, columns], if the file can be
    // read.
    const std::uint8_t* read(std::size_t row, std::size_t count, std::uint8_t* buffer) const;
};

}  // namespace bitnet
