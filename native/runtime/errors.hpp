// C++ counterparts of bitnet_tt.errors; std::invalid_argument becomes ValueError.
#pragma once

#include <stdexcept>

namespace bitnet {

struct DeviceError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct RequestError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

}  // namespace bitnet
