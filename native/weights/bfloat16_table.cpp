#include "weights/bfloat16_table.hpp"

#include <unistd.h>

namespace bitnet {

const std::uint8_t* Bfloat16Table::read(std::size_t row, std::size_t count, std::uint8_t* buffer) const {
    const std::size_t size = count * row_bytes();
    const off_t begin = static_cast<off_t>(offset + row * row_bytes());
    // If the file cannot be read, the mapping has the same bytes.
    return in_file() && pread(file, buffer, size, begin) == static_cast<ssize_t>(size) ? buffer : at(row);
}

}  // namespace bitnet
