#include "screen.hpp"

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

bool Screen::pack(const Kernels& kernels, const std::uint8_t* table, std::size_t block) {
    std::vector<std::uint8_t> codes(4 * round_up(in_, 64));
    bool finite = true;
    for (std::size_t row = 0; row < rows(block); ++row) {
        const std::uint8_t* weights[4];
        for (std::size_t field = 0; field < 4; ++field) {
            const std::int32_t index = id(block, field, row);
            weights[field] = index < 0 ? nullptr : table + static_cast<std::size_t>(index) * 2 * in_;
        }
        ScreenRow packed[4];
        kernels.screen_pack(weights, in_, codes.data(), bytes(block) + row * row_bytes(in_), packed);
        for (std::size_t field = 0; field < 4; ++field) {
            finite = finite && std::isfinite(packed[field].norm) && std::isfinite(packed[field].error);
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
    return {bytes(index), rows(index), rows_bounds, rows_bounds + kLanes, rows_bounds + 2 * kLanes};
}

}  // namespace bitnet
