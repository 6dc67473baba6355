// The native test program: runs all tests, counts allocations and prints a digest of the scalar results. The digest
// must be the same on every architecture; tests/backends/cpu/test_native.py compares it under an emulator. With the
// argument `fastest`, only the fastest table is tested, which is enough to find races; the digest is then empty.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/select.hpp"
#include "tests/check.hpp"

namespace bitnet {

// Native code allocates by operator new and by aligned_alloc. The linker's option --wrap turns calls of aligned_alloc
// into calls of __wrap_aligned_alloc.
std::atomic<std::size_t> allocations{0};

}  // namespace bitnet

extern "C" {
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
    ++bitnet::allocations;
    return __real_aligned_alloc(alignment, size);
}
}

// Not inlined: otherwise the compiler sees free() called on memory from new, and warns.
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++bitnet::allocations;
    void* p = std::malloc(size);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace bitnet {

namespace {

std::vector<const Kernels*> tested = available_kernels();
int failures = 0;
std::uint64_t digest = 14695981039346656037u;

}  // namespace

const std::vector<const Kernels*>& tables() { return tested; }

// The digest is FNV-1a over the bits of the results.
void note(const Kernels& kernels, const std::vector<float>& values) {
    if (&kernels != scalar_kernels()) return;
    for (float value : values) {
        std::uint32_t bits;
        std::memcpy(&bits, &value, 4);
        digest = (digest ^ bits) * 1099511628211u;
    }
}

void expect(bool same, const std::string& what) {
    if (same) return;
    std::printf("FAILED: %s\n", what.c_str());
    ++failures;
}

bool identical(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

}  // namespace bitnet

int main(int count, char** arguments) {
    using namespace bitnet;
    if (count > 1 && std::string(arguments[1]) == "fastest") tested.resize(1);
    test_kernels();
    test_decoder();
    test_head();
    std::string names;
    for (const Kernels* kernels : tables()) names += std::string(" ") + kernels->name;
    if (failures == 0) std::printf("ok digest %016llx%s\n", static_cast<unsigned long long>(digest), names.c_str());
    return failures == 0 ? 0 : 1;
}
