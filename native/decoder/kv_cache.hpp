// The paged KV cache, float32.
#pragma once

#include "decoder/model.hpp"
#include "runtime/memory.hpp"

namespace bitnet {

// Layout: [block group][layer][keys, values][KV head][block of the group][slot][head_stride].
//
// A block group is a contiguous piece of memory, so a group that no sequence uses is never touched and costs nothing.
// Within a group, the keys of one head of one layer are contiguous as far as the blocks are handed out in order. That
// is long enough for the processor to prefetch them. The padding from head_dim to head_stride stays zero.
//
// The cache owns its memory. Not thread-safe by itself: the decoder's phases order reads and writes.
class KVCache {
  public:
    KVCache() = default;
    // Reserves the memory; the system provides its pages when they are first written. Throws std::invalid_argument if
    // `blocks` or `block_size` is 0, DeviceError if the system refuses the memory or has no addresses for it.
    KVCache(const Shape& shape, std::size_t blocks, std::size_t block_size);

    // Bytes that the keys and values of one position take in all layers.
    static std::size_t bytes_per_position(const Shape& shape) {
        return shape.layers * 2 * shape.kv_heads * shape.head_stride() * sizeof(float);
    }

    std::size_t blocks() const { return blocks_; }
    // Bytes once every block is full, the padding of the last group included.
    std::size_t bytes() const { return memory_.size(); }
    std::size_t block_size() const { return layout_.block_size; }
    const KVLayout& layout() const { return layout_; }

    // Keys or values of a KV head in block 0, slot 0; `offset` leads to other positions.
    float* keys(std::size_t layer, std::size_t kv_head) { return plane(2 * layer, kv_head); }
    float* values(std::size_t layer, std::size_t kv_head) { return plane(2 * layer + 1, kv_head); }

    // Floats from block 0, slot 0 to a position of the sequence that has this block table.
    std::size_t offset(const std::int32_t* block_table, std::size_t position) const {
        const std::size_t block = static_cast<std::size_t>(block_table[position / layout_.block_size]);
        return block_offset(layout_, block) + position % layout_.block_size * layout_.head_stride;
    }

  private:
    // The keys of all layers and their values are the planes 0, 1, 2, ... of a group: keys of layer 0, values of layer
    // 0, keys of layer 1, ...
    float* plane(std::size_t index, std::size_t kv_head) {
        return static_cast<float*>(memory_.data()) +
               (index * kv_heads_ + kv_head) * layout_.group * layout_.block_size * layout_.head_stride;
    }

    LazyMemory memory_;
    KVLayout layout_{1, 1, 1, 0};
    std::size_t blocks_ = 0, kv_heads_ = 0;
};

}  // namespace bitnet
