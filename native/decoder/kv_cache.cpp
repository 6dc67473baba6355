#include "decoder/kv_cache.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "runtime/errors.hpp"

namespace bitnet {

namespace {

// Positions of a block group. The keys of a head of 128 floats then are 128 KB in one piece, which a processor reads at
// nearly full speed.
constexpr std::size_t kGroupPositions = 256;

}  // namespace

KVCache::KVCache(const Shape& shape, std::size_t blocks, std::size_t block_size)
    : layout_{block_size, shape.head_stride(), 1, 0}, blocks_(blocks), kv_heads_(shape.kv_heads) {
    if (blocks == 0 || block_size == 0) throw std::invalid_argument("num_blocks and block_size must be at least 1");
    layout_.group = std::clamp<std::size_t>(kGroupPositions / block_size, 1, blocks);
    const std::size_t groups = (blocks - 1) / layout_.group + 1;
    std::size_t positions, group_bytes, bytes;
    if (__builtin_mul_overflow(layout_.group, block_size, &positions) ||
        __builtin_mul_overflow(bytes_per_position(shape), positions, &group_bytes) ||
        __builtin_mul_overflow(group_bytes, groups, &bytes) ||
        bytes > static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()))
        throw DeviceError("a key/value cache of " + std::to_string(blocks) + " blocks of " +
                          std::to_string(block_size) + " positions is larger than any memory; ask for fewer");
    layout_.group_stride = group_bytes / sizeof(float);
    memory_ = LazyMemory(bytes, "a key/value cache");
}

}  // namespace bitnet
