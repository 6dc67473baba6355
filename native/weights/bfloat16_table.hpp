// A table of bfloat16 rows: the embedding or the output head.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// In memory, or in a mapped file. Of a file, rows can be read and not touched: a page that was touched stays, and with
// it its neighbours, which makes a few rows a step to all of the table in this process's memory.
struct Bfloat16Table {
    const std::uint8_t* data;  // [rows, columns] at any alignment
    std::size_t columns;
    int file = -1;             // descriptor
    std::uint64_t offset = 0;  // of the data in the file

    std::size_t row_bytes() const { return 2 * columns; }
    bool in_file() const { return file >= 0; }
    // Rows from `row` on where they lie.
    const std::uint8_t* at(std::size_t row) const { return data + row * row_bytes(); }
    // The same for `count` rows, but those of a file copied to `buffer`.
    const std::uint8_t* read(std::size_t row, std::size_t count, std::uint8_t* buffer) const;
};

}  // namespace bitnet
