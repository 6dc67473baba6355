// What this machine can do at most. A decoder's speed is compared with these limits.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// Both functions start `threads` threads of their own and return one result for each of `passes` passes.

// Bytes per second that the threads read from memory. In a pass each thread reads its part of `bytes` once, from begin
// to end. The memory is in huge pages if the system has them. `bytes` should be much larger than the caches. Throws
// DeviceError if there is not enough memory.
std::vector<double> measure_read_bandwidth(std::size_t threads, std::size_t bytes, std::size_t passes);

// Operations per second of the int8 product instruction of `kernels`. A multiplication and its addition count as two. A
// pass takes about `seconds`.
std::vector<double> measure_int8_peak(const Kernels& kernels, std::size_t threads, double seconds, std::size_t passes);

}  // namespace bitnet
