// The paged key/value cache, float32.
#pragma once

#include "memory.hpp"
#include "model.hpp"

namespace bitnet {

// Layout: [block][layer][key or value][kv head][slot][head_stride]. A block is one stretch of memory, so that one a
// sequence never uses costs nothing, and within it what one head of one layer attends to is contiguous. The padding of
// head_dim to head_stride, a multiple of 16, stays zero.
class KVCache {
  public:
    KVCache() = default;
    KVCache(const Shape& shape, std::size_t blocks, std::size_t block_size);

    std::size_t blocks() const { return blocks_; }
    std::size_t block_size() const { return block_size_; }
    std::size_t block_stride() const { return block_stride_; }

    // Block 0's keys or values of a head; see AttentionTile for the rest.
    float* keys(std::size_t layer, std::size_t head) { return at(2 * layer, head); }
    float* values(std::size_t layer, std::size_t head) { return at(2 * layer + 1, head); }

    // Offset of a position of a sequence from block 0, slot 0.
    std::size_t offset(const std::int32_t* block_table, std::size_t position) const {
        const std::size_t block = static_cast<std::size_t>(block_table[position / block_size_]);
        return block * block_stride_ + position % block_size_ * head_stride_;
    }

  private:
    float* at(std::size_t plane, std::size_t head) {
        return static_cast<float*>(memory_.data()) + (plane * kv_heads_ + head) * block_size_ * head_stride_;
    }

    LazyMemory memory_;
    std::size_t blocks_ = 0, block_size_ = 0, block_stride_ = 0, kv_heads_ = 0, head_stride_ = 0;
};

}  // namespace bitnet
