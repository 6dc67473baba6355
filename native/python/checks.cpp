// Part of the Python module bitnet_tt._native: the checks of weights at load.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "weights/checks.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::tuple count_codes(const Bytes& packed, std::size_t threads) {
    bitnet::CodeCounts counts;
    {
        const nb::gil_scoped_release release;
        counts = bitnet::count_codes(packed.data(), packed.shape(0), threads);
    }
    return nb::make_tuple(counts.invalid, counts.minus, counts.zero, counts.plus);
}

bool all_finite(const Bytes& bfloat16, std::size_t threads) {
    const nb::gil_scoped_release release;
    return bitnet::all_finite(bfloat16.data(), bfloat16.shape(0) / 2, threads);
}

}  // namespace

void bind_checks(nb::module_& m) {
    m.def("count_codes", &count_codes, "packed"_a, "threads"_a);
    m.def("all_finite", &all_finite, "bfloat16"_a, "threads"_a);
}
