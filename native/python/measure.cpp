// Binds the measurement of what this machine can do at most.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "kernels/select.hpp"
#include "python/arrays.hpp"
#include "runtime/roofs.hpp"

namespace bitnet {

namespace {

std::vector<double> read_bandwidth(std::size_t threads, std::size_t bytes, std::size_t passes) {
    require(threads > 0 && bytes > 0, "threads and bytes must be at least 1");
    const nb::gil_scoped_release release;
    return measure_read_bandwidth(threads, bytes, passes);
}

std::vector<double> int8_peak(std::size_t threads, const std::string& isa, double seconds, std::size_t passes) {
    require(threads > 0, "threads must be at least 1");
    const nb::gil_scoped_release release;
    return measure_int8_peak(select_kernels(isa), threads, seconds, passes);
}

}  // namespace

void bind_measure(nb::module_& m) {
    m.def("measure_read_bandwidth", &read_bandwidth, "threads"_a, "bytes"_a, "passes"_a = 5);
    m.def("measure_int8_peak", &int8_peak, "threads"_a, "isa"_a, "seconds"_a = 0.2, "passes"_a = 5);
}

}  // namespace bitnet
