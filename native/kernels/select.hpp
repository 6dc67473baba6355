// The choice of a kernel table at run time: which instruction sets this processor has.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// The tables that this processor can run, fastest first. Never empty, as the table "scalar" runs anywhere.
std::vector<const Kernels*> available_kernels();

// The table of that name, or the fastest one if the name is empty. Throws DeviceError if the name is unknown or this
// processor cannot run the table.
const Kernels& select_kernels(const std::string& name);

}  // namespace bitnet
