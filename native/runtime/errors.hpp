// The C++ counterparts of bitnet_tt.errors. The Python module raises them under the same names; std::invalid_argument
// becomes ValueError.
#pragma once

#include <stdexcept>

namespace bitnet {

// The machine cannot do it: memory, threads or an instruction set are missing.
struct DeviceError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The model cannot take these tokens.
struct RequestError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace bitnet
