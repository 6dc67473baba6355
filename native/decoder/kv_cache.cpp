#include "decoder/kv_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "runtime/errors.hpp"

namespace bitnet {

namespace {

// Positions of a group of blocks: 128 KB of a head of 128 floats, which a processor reads at nearly full speed.
constexpr std::size_t kGroupPositions = 256;

}  // namespace

LazyMemory::LazyMemory(std::size_t bytes, const char* purpose) : bytes_(bytes) {
    constexpr int kProtection = PROT_READ | PROT_WRITE;
    void* data = mmap(nullptr, bytes, kProtection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        throw DeviceError("no memory for " + std::string(purpose) + ", " + std::to_string(bytes >> 20) + " MiB (" +
                          std::strerror(errno) + "); free some, or ask for a smaller context or batch");
    madvise(data, bytes, MADV_HUGEPAGE);  // fewer of the lookups that make reading slow; no matter if refused
    data_ = data;
}

LazyMemory::~LazyMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
}

KVCache::KVCache(const Shape& shape, std::size_t blocks, std::size_t block_size)
    : layout_{block_size, shape.head_stride(), 1, 0}, blocks_(blocks), kv_heads_(shape.kv_heads) {
    if (blocks == 0 || block_size == 0) throw std::invalid_argument("num_blocks and block_size must be at least 1");
    layout_.group = std::clamp<std::size_t>(kGroupPositions / block_size, 1, blocks);
    const std::size_t groups = (blocks - 1) / layout_.group + 1;
    std::size_t positions, floats, bytes;
    if (__builtin_mul_overflow(layout_.group, block_size, &positions) ||
        __builtin_mul_overflow(shape.layers * 2 * kv_heads_ * layout_.head_stride, positions, &layout_.group_stride) ||
        __builtin_mul_overflow(layout_.group_stride, groups, &floats) ||
        __builtin_mul_overflow(floats, sizeof(float), &bytes) ||
        bytes > static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()))
        throw DeviceError("a key/value cache of " + std::to_string(blocks) + " blocks of " +
                          std::to_string(block_size) + " positions is larger than any memory; ask for fewer");
    memory_ = LazyMemory(bytes, "a key/value cache");
}

}  // namespace bitnet
