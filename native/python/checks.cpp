// Binds the checks of weights at load.
#include "weights/checks.hpp"

#include "python/arrays.hpp"

namespace bitnet {

namespace {

nb::tuple count_codes_of(const ByteVector& packed, std::size_t threads) {
    CodeCounts counts;
    {
        const nb::gil_scoped_release release;
        counts = count_codes(packed.data(), packed.shape(0), threads);
    }
    return nb::make_tuple(counts.invalid, counts.minus, counts.zero, counts.plus);
}

bool are_all_finite(const ByteVector& bfloat16, std::size_t threads) {
    const nb::gil_scoped_release release;
    return all_finite(bfloat16.data(), bfloat16.shape(0) / 2, threads);
}

}  // namespace

void bind_checks(nb::module_& m) {
    m.def("count_codes", &count_codes_of, "packed"_a, "threads"_a);
    m.def("all_finite", &are_all_finite, "bfloat16"_a, "threads"_a);
}

}  // namespace bitnet
