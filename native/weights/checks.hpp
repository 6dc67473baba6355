// What loading a checkpoint looks for in every byte of its weights, at the speed of memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// How often each value is among ternary weights; `invalid` counts at least one where there is the code 3, and the
// others mean nothing then.
struct CodeCounts {
    std::uint64_t invalid = 0, minus = 0, zero = 0, plus = 0;
};

// Of bytes that hold four codes each.
CodeCounts count_codes(const std::uint8_t* packed, std::size_t bytes, std::size_t threads);

// Whether none of so many bfloat16 values, at any alignment, is NaN or infinite.
bool all_finite(const std::uint8_t* bits, std::size_t count, std::size_t threads);

}  // namespace bitnet
