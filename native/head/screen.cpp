#include "head/screen.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace bitnet {

Screen::Screen(std::size_t vocab, std::size_t in)
    : vocab_(vocab),
      quarter_((vocab + 3) / 4),
      in_(in),
      bytes_(blocks() * kBlockRows * row_bytes(in), "the screen of the output head"),
      bounds_(blocks() * kLanes * sizeof(ScreenRow), "the screen of the output head") {}

std::size_t Screen::bytes(std::size_t vocab, std::size_t in) {
    return (vocab + 3) / 4 * (row_bytes(in) + 4 * sizeof(ScreenRow));
}

bool Screen::pack(const Kernels& kernels, const Bfloat16Table& table, std::size_t block, std::uint8_t* buffer) {
    std::vector<std::uint8_t> codes(4 * round_up(in_, 64));
    const std::size_t size = table.row_bytes();
    // Where the block's rows of each field begin in the table, or in the buffer if they are read from the file.
    const std::uint8_t* fields[4];
    for (std::size_t field = 0; field < 4; ++field) {
        const std::size_t first = field * quarter_ + block * kBlockRows;
        const std::size_t count = first < vocab_ ? std::min(rows(block), vocab_ - first) : 0;
        fields[field] = count > 0 ? table.read(first, count, buffer + field * kBlockRows * size) : nullptr;
    }
    // Pack byte row by byte row: one row of each field, or none at the end of the table.
    bool finite = true;
    for (std::size_t row = 0; row < rows(block); ++row) {
        const std::uint8_t* weights[4];
        for (std::size_t field = 0; field < 4; ++field)
            weights[field] = id(block, field, row) < 0 ? nullptr : fields[field] + row * size;
        ScreenRow packed[4];
        kernels.screen_pack(weights, in_, codes.data(), bytes(block) + row * row_bytes(in_), packed);
        for (std::size_t field = 0; field < 4; ++field) {
            finite = finite && std::isfinite(packed[field].norm) && std::isfinite(packed[field].error);
            // [half steps, errors, norms][field][byte row]
            float* target = bounds(block) + field * kBlockRows + row;
            target[0] = packed[field].half_step;
            target[kLanes] = packed[field].error;
            target[2 * kLanes] = packed[field].norm;
        }
    }
    return finite;
}

ScreenBlock Screen::block(std::size_t index) const {
    const float* rows_bounds = bounds(index);
    ScreenBlock block{bytes(index), rows(index), rows_bounds, rows_bounds + kLanes, rows_bounds + 2 * kLanes, {}};
    for (std::size_t field = 0; field < 4; ++field)
        block.ids[field] = static_cast<std::uint32_t>(field * quarter_ + index * kBlockRows);
    return block;
}

}  // namespace bitnet
