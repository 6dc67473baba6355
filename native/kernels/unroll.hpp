// Loops over register arrays must be unrolled early and wholly, or the compiler keeps the arrays in memory.
#pragma once

#if defined(__clang__)
#define BITNET_UNROLL _Pragma("unroll")
#else
#define BITNET_UNROLL _Pragma("GCC unroll 16")
#endif
