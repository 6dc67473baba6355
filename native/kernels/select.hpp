// Which kernel tables this processor can run.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// Fastest first; never empty, as "scalar" runs anywhere.
std::vector<const Kernels*> available_kernels();

// The table of that name, or the fastest one for an empty name. Throws DeviceError for a name that is unknown or that
// this processor cannot run.
const Kernels& select_kernels(const std::string& name);

}  // namespace bitnet
