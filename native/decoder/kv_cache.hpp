// The paged key/value cache, float32.
#pragma once

#include "decoder/model.hpp"
#include "runtime/memory.hpp"

namespace bitnet {

// Layout: [group of blocks][layer][key or value][kv head][block][slot][head_stride]. A group is one stretch of memory,
// so that one that no sequence uses costs nothing; within it what one head of one layer attends to is contiguous, if
// blocks are handed out in order, and long enough for the processor to fetch it ahead. The padding of head_dim to
// head_stride, a multiple of 16, stays zero.
class KVCache {
  public:
    KVCache() = default;
    KVCache(const Shape& shape, std::size_t blocks, std::size_t block_size);

    std::size_t blocks() const { return blocks_; }
    std::size_t bytes() const { return memory_.size(); }
    std::size_t block_size() const { return layout_.block_size; }
    const KVLayout& layout() const { return layout_; }

    // Block 0's keys or values of a head; see block_offset for the rest.
    float* keys(std::size_t layer, std::size_t head) { return at(2 * layer, head); }
    float* values(std::size_t layer, std::size_t head) { return at(2 * layer + 1, head); }

    // Offset of a position of a sequence from block 0, slot 0.
    std::size_t offset(const std::int32_t* block_table, std::size_t position) const {
        const std::size_t block = static_cast<std::size_t>(block_table[position / layout_.block_size]);
        return block_offset(layout_, block) + position % layout_.block_size * layout_.head_stride;
    }

  private:
    float* at(std::size_t plane, std::size_t head) {
        return static_cast<float*>(memory_.data()) +
               (plane * kv_heads_ + head) * layout_.group * layout_.block_size * layout_.head_stride;
    }

    LazyMemory memory_;
    KVLayout layout_{1, 1, 1, 0};
    std::size_t blocks_ = 0, kv_heads_ = 0;
};

}  // namespace bitnet
