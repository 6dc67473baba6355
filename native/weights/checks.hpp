// Checks of every byte of a checkpoint's weights, at the speed of memory. Each call starts threads of its own, at most
// `threads`. Throws DeviceError if the system refuses them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bitnet {

// How often each value occurs among ternary weights. `invalid` is 0 if the code 3 does not occur, and at least 1 if it
// does; then the other counts mean nothing.
struct CodeCounts {
    std::uint64_t invalid = 0, minus = 0, zero = 0, plus = 0;
};

// Counts the codes in bytes of four 2-bit codes each.
CodeCounts count_codes(const std::uint8_t* packed, std::size_t bytes, std::size_t threads);

// Returns whether none of `count` bfloat16 values is NaN or infinite. `bits` may have any alignment.
bool all_finite(const std::uint8_t* bits, std::size_t count, std::size_t threads);

}  // namespace bitnet
