// Loops over arrays of registers must be unrolled early and wholly, and what they call inlined, or the compiler keeps
// the arrays in memory: a third of the speed. So they do, by the whim of a version, where a loop like that is inlined
// in many kinds into one function.
#pragma once

#if defined(__clang__)
#define BITNET_UNROLL _Pragma("unroll")
#else
#define BITNET_UNROLL _Pragma("GCC unroll 24")
#endif

#define BITNET_INLINE __attribute__((always_inline))
#define BITNET_NOINLINE __attribute__((noinline))

#include <cstddef>

namespace bitnet {
namespace {

template <std::size_t n>
struct Count {
    static constexpr std::size_t value = n;
};

// Calls body(Count<n>()) for n = count, which is 1 to kMost; a greater one counts as kMost.
template <std::size_t kMost, typename Body>
inline void with_count(std::size_t count, Body body) {
    if constexpr (kMost > 1) {
        if (count < kMost) return with_count<kMost - 1>(count, body);
    }
    body(Count<kMost>());
}

}  // namespace
}  // namespace bitnet
