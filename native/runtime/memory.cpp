#include "runtime/memory.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/errors.hpp"

namespace bitnet {

namespace {

std::atomic<std::uint64_t> memory_nodes{0};

bool process_has_policy() {
    int policy = MPOL_DEFAULT;
    return syscall(SYS_get_mempolicy, &policy, nullptr, 0, nullptr, 0) != 0 || policy != MPOL_DEFAULT;
}

}  // namespace

void spread_memory(std::uint64_t nodes) { memory_nodes.store(nodes); }

void interleave_pages(void* data, std::size_t bytes) {
    const unsigned long nodes = memory_nodes.load();
    if (nodes == 0 || process_has_policy()) return;
    constexpr unsigned long kBits = 8 * sizeof nodes + 1;  // the system takes one bit less
    syscall(SYS_mbind, data, bytes, MPOL_INTERLEAVE, &nodes, kBits, 0);
}

LazyMemory::LazyMemory(std::size_t bytes, const char* purpose) : bytes_(bytes) {
    constexpr int kProtection = PROT_READ | PROT_WRITE;
    void* data = mmap(nullptr, bytes, kProtection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        throw DeviceError("no memory for " + std::string(purpose) + ", " + std::to_string(bytes >> 20) + " MiB (" +
                          std::strerror(errno) + "); free some, or ask for a smaller context or batch");
    // Huge pages need fewer address look-ups, which makes reading faster. If the system refuses, small pages work too.
    madvise(data, bytes, MADV_HUGEPAGE);
    interleave_pages(data, bytes);
    data_ = data;
}

LazyMemory::~LazyMemory() {
    if (data_ != nullptr) munmap(data_, bytes_);
}

}  // namespace bitnet
