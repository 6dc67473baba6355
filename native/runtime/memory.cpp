#include "runtime/memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/errors.hpp"

namespace bitnet {

LazyMemory::LazyMemory(std::size_t bytes, const char* purpose) : bytes_(bytes) {
    constexpr int kProtection = PROT_READ | PROT_WRITE;
    void* data = mmap(nullptr, bytes, kProtection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        throw DeviceError("no memory for " + std::string(purpose) + ", " + std::to_string(bytes >> 20) + " MiB (" +
                          std::strerror(errno) + "); free some, or ask for a smaller context or batch");
    // Huge pages need fewer address look-ups, which makes reading faster. If the system refuses, small pages work too.
    madvise(data, bytes, MADV_HUGEPAGE);
    data_ = data;
}

LazyMemory::~LazyMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace bitnet
