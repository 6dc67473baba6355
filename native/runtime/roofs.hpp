// What this machine allows: the limits that a decoder's speed is measured against.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// Bytes a second that `threads` threads read from `bytes` of memory, each from one stretch of it, once a pass. Huge
// pages are asked for. `bytes` should be well beyond the caches. Throws DeviceError where there is not enough memory.
std::vector<double> measure_read_bandwidth(std::size_t threads, std::size_t bytes, std::size_t passes);

// Operations a second (a multiplication and an addition are two) of the instruction that multiplies int8 in
// `kernels`, on `threads` threads, once a pass of about `seconds`.
std::vector<double> measure_int8_peak(const Kernels& kernels, std::size_t threads, double seconds, std::size_t passes);

}  // namespace bitnet
