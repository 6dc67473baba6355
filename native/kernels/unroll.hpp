// Directives that keep arrays of registers in registers.
//
// A kernel keeps its sums in a local array such as `__m512i sums[6][4]`. The array becomes 24 registers only if every
// index is a constant when the compiler decides where it lives. So the loops over it must be unrolled early and
// completely (BITNET_UNROLL), and the functions and lambdas that get the array must be inlined (BITNET_INLINE).
// Otherwise it stays in memory: without BITNET_UNROLL, g++ 12 makes the product of 2560 x 2560 weights and 12 tokens
// 2.5 times slower (table avx512_vbmi, Sapphire Rapids). docs/decisions/0005 has more.
//
// BITNET_NOINLINE is for the opposite case: g++ also keeps such arrays in memory where it inlines several variants of a
// loop into one function. A call for each variant is then faster.
#pragma once

#include <cstddef>

#if defined(__clang__)
#define BITNET_UNROLL _Pragma("unroll")
#else
#define BITNET_UNROLL _Pragma("GCC unroll 24")  // 24 is the longest such loop
#endif

#define BITNET_INLINE __attribute__((always_inline))
#define BITNET_NOINLINE __attribute__((noinline))

namespace bitnet {
namespace {

// A number that is a type, so that a lambda can use its argument as a template argument.
template <std::size_t n>
struct Count {
    static constexpr std::size_t value = n;
};

// Turns a number that is known at run time into a constant: calls body(Count<count>()) for a count of 1 to kMax. A
// larger count is taken as kMax.
template <std::size_t kMax, typename Body>
inline void with_count(std::size_t count, Body body) {
    if constexpr (kMax > 1) {
        if (count < kMax) return with_count<kMax - 1>(count, body);
    }
    body(Count<kMax>());
}

}  // namespace
}  // namespace bitnet
