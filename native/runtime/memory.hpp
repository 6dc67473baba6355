// Memory for activations, the KV cache and the screen of the lm_head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace bitnet {

inline std::size_t round_up(std::size_t n, std::size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// An array of zeros that begins at a 64-byte boundary: a cache line, and a whole vector of any instruction set. It owns
// its memory. When it grows, all elements become zero.
template <typename T>
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(std::size_t size) { grow(size); }
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~Buffer() { std::free(data_); }

    // Makes room for at least `size` elements; never shrinks. Throws std::bad_alloc.
    void grow(std::size_t size) {
        if (size <= size_) return;
        std::free(data_);
        size_ = 0;
        const std::size_t bytes = round_up(size * sizeof(T), 64);
        data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
        if (data_ == nullptr) throw std::bad_alloc();
        __builtin_memset(static_cast<void*>(data_), 0, bytes);
        size_ = size;
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }

  private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

// On a machine with several nodes of memory, each near some of its processors: the nodes over which large memory is
// spread, as bits. 0, as at the start, leaves each page to the node of the thread that touches it first.
void spread_memory(std::uint64_t nodes);

// Asks the system to take the pages of untouched memory in turn from the nodes of `spread_memory`. So all threads
// together read as fast as all nodes can, whichever thread reads a page. `data` begins at a page. Does nothing if the
// process has a policy of its own (numactl), or the system refuses.
void interleave_pages(void* data, std::size_t bytes);

// Address space that it owns. The system adds a page of zeros when the page is first touched; until then it costs no
// memory.
class LazyMemory {
  public:
    LazyMemory() = default;
    // Asks for huge pages. Throws DeviceError if the system refuses; `purpose` is named in its message.
    LazyMemory(std::size_t bytes, const char* purpose);
    LazyMemory(LazyMemory&& other) noexcept { *this = std::move(other); }
    LazyMemory& operator=(LazyMemory&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~LazyMemory();

    void* data() const { return data_; }
    std::size_t size() const { return bytes_; }

  private:
    void* data_ = nullptr;
    std::size_t bytes_ = 0;
};

}  // namespace bitnet
