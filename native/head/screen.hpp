// The screen: a copy of the lm_head in 6 bits a weight. Kernels bound every logit from it; see kernels/screen.hpp.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.hpp"
#include "runtime/memory.hpp"
#include "weights/bfloat16_table.hpp"

namespace bitnet {

// Owns its memory. The table [vocab, in] is divided into four fields of `quarter` rows: rows 0..quarter, quarter..2 *
// quarter, and so on. Byte row r packs row r of each field. 16 byte rows are a block, which has 64 logits. Blocks lie
// in the order in which they are read, in two arrays:
//
//     bytes   [block][byte row][row_bytes]
//     bounds  [block][half steps, errors, norms][field][byte row], float32
//
// Where a field has no such row, because vocab is not a multiple of 64, codes, norms and errors are zeros.
//
// Threads may pack different blocks at the same time. Once all are packed, any thread may read any block.
class Screen {
  public:
    static constexpr std::size_t kLanes = 4 * kBlockRows;  // logits of a block

    Screen() = default;
    // Reserves the memory; `pack` fills it. Throws DeviceError if there is not enough.
    Screen(std::size_t vocab, std::size_t in);

    // Bytes of the screen of a table of this shape.
    static std::size_t bytes(std::size_t vocab, std::size_t in);

    std::size_t blocks() const { return (quarter_ + kBlockRows - 1) / kBlockRows; }
    // Packs a block of the table. `buffer` is scratch for kLanes rows of the table if it is in a file, else it may be
    // null. Returns false if some weights are not finite: then the screen cannot bound logits.
    bool pack(const Kernels& kernels, const Bfloat16Table& table, std::size_t block, std::uint8_t* buffer);
    ScreenBlock block(std::size_t index) const;
    // Returns which row of the table is byte row `row`, field `field` of a block, or -1 if there is none. It is the
    // token id of the logit.
    std::int32_t id(std::size_t block, std::size_t field, std::size_t row) const {
        const std::size_t byte_row = block * kBlockRows + row, id = field * quarter_ + byte_row;
        return row < rows(block) && id < vocab_ ? static_cast<std::int32_t>(id) : -1;
    }

    // Returns bit 16 * field + row for each logit of a block whose token has its bit in the mask, see LogitFilter. The
    // bits of logits that are not in the table mean nothing.
    std::uint64_t allowed(std::size_t block, const std::uint32_t* mask) const {
        std::uint64_t lanes = 0;
        const std::size_t words = (vocab_ + 31) / 32;
        for (std::size_t field = 0; field < 4; ++field) {
            // The tokens of a field are neighbours, so their 16 bits lie in one word of the mask or in two.
            const std::size_t first = field * quarter_ + block * kBlockRows, word = first / 32;
            std::uint64_t bits = word < words ? mask[word] : 0;
            if (word + 1 < words) bits |= std::uint64_t{mask[word + 1]} << 32;
            lanes |= (bits >> first % 32 & 0xFFFF) << (field * kBlockRows);
        }
        return lanes;
    }

  private:
    // A byte row has three bytes for each column; columns are padded to whole vectors of 64 bytes.
    static std::size_t row_bytes(std::size_t in) { return 3 * round_up(in, 64); }
    // Byte rows of a block: fewer in the last one.
    std::size_t rows(std::size_t block) const {
        const std::size_t remaining = quarter_ - block * kBlockRows;
        return remaining < kBlockRows ? remaining : kBlockRows;
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
