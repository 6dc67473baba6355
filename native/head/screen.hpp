// A copy of the output head in low bits that says which logits can be among the greatest, see kernels/screen.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "runtime/memory.hpp"
#include "weights/bfloat16_table.hpp"

namespace bitnet {

// Laid out in the order in which it is read: by blocks of 16 byte rows. Rows that a block of the table lacks have zero
// codes, norms and errors.
class Screen {
  public:
    static constexpr std::size_t kBlockRows = 16;
    static constexpr std::size_t kLanes = 4 * kBlockRows;  // logits of a block

    Screen() = default;
    // Throws DeviceError where there is no memory. All blocks must be packed before they are used.
    Screen(std::size_t vocab, std::size_t in);

    // Bytes a table of this shape takes.
    static std::size_t bytes(std::size_t vocab, std::size_t in);

    std::size_t blocks() const { return (quarter_ + kBlockRows - 1) / kBlockRows; }
    // Packs a block of the table, [vocab, in]. `buffer` takes kLanes rows of it. False if it has weights that are not
    // finite.
    bool pack(const Kernels& kernels, const Bfloat16Table& table, std::size_t block, std::uint8_t* buffer);
    ScreenBlock block(std::size_t index) const;
    // The table's row that is row `row` of field `field` of a block, or -1.
    std::int32_t id(std::size_t block, std::size_t field, std::size_t row) const {
        const std::size_t byte_row = block * kBlockRows + row, id = field * quarter_ + byte_row;
        return row < rows(block) && id < vocab_ ? static_cast<std::int32_t>(id) : -1;
    }

  private:
    static std::size_t row_bytes(std::size_t in) { return 3 * round_up(in, 64); }
    std::size_t rows(std::size_t block) const {
        const std::size_t left = quarter_ - block * kBlockRows;
        return left < kBlockRows ? left : kBlockRows;
    }
    std::uint8_t* bytes(std::size_t block) const {
        return static_cast<std::uint8_t*>(bytes_.data()) + block * kBlockRows * row_bytes(in_);
    }
    float* bounds(std::size_t block) const {
        return static_cast<float*>(bounds_.data()) + block * kLanes * (sizeof(ScreenRow) / sizeof(float));
    }

    std::size_t vocab_ = 0, quarter_ = 0, in_ = 0;
    LazyMemory bytes_, bounds_;
};

}  // namespace bitnet
