// Loops over arrays of registers must be unrolled early and wholly, and what they call inlined, or the compiler keeps
// the arrays in memory: a third of the speed.
#pragma once

#if defined(__clang__)
#define BITNET_UNROLL _Pragma("unroll")
#else
#define BITNET_UNROLL _Pragma("GCC unroll 24")
#endif

#define BITNET_INLINE __attribute__((always_inline))
