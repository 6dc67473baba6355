// The stream of weights that this core reads, if any. The host places streams near their banks (planning/placement.py).
#pragma once

#include <stdint.h>

#include "work.hpp"

namespace stream {

constexpr uint8_t OF_CORE[] = STREAM_OF_CORE;
constexpr uint32_t NONE = 255;  // NO_STREAM in placement.py

inline uint32_t mine() { return OF_CORE[work::core()]; }

}  // namespace stream
