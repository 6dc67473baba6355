// Binds the checks of weights at load.
#include "weights/checks.hpp"

#include <nanobind/stl/vector.h>

#include <chrono>
#include <utility>
#include <vector>

#include "python/arrays.hpp"

namespace bitnet {

namespace {

nb::tuple as_tuple(const CodeCounts& counts) {
    return nb::make_tuple(counts.invalid, counts.minus, counts.zero, counts.plus);
}

nb::tuple count_codes_of(const ByteVector& packed, std::size_t threads) {
    CodeCounts counts;
    {
        const nb::gil_scoped_release release;
        counts = count_codes(packed.data(), packed.shape(0), threads);
    }
    return as_tuple(counts);
}

bool are_all_finite(const ByteVector& bfloat16, std::size_t threads) {
    const nb::gil_scoped_release release;
    return all_finite(bfloat16.data(), bfloat16.shape(0) / 2, threads);
}

// BackgroundChecks, with the arrays that it needs.
class Checks {
  public:
    Checks(std::vector<ByteVector> packed, std::vector<ByteVector> bfloat16, std::size_t threads)
        : packed_(std::move(packed)),
          bfloat16_(std::move(bfloat16)),
          checks_(bytes_of(packed_), bytes_of(bfloat16_), threads) {}

    std::size_t done() const { return checks_.done(); }

    bool wait(double seconds) const {
        const nb::gil_scoped_release release;
        return checks_.wait(std::chrono::duration<double>(seconds));
    }

    nb::tuple results() const {
        {
            const nb::gil_scoped_release release;
            checks_.finish();
        }
        nb::list counts, finite;
        for (const CodeCounts& one : checks_.counts()) counts.append(as_tuple(one));
        for (const char one : checks_.finite()) finite.append(one != 0);
        return nb::make_tuple(counts, finite);
    }

  private:
    static std::vector<Bytes> bytes_of(const std::vector<ByteVector>& arrays) {
        std::vector<Bytes> bytes;
        for (const ByteVector& array : arrays) bytes.push_back({array.data(), array.shape(0)});
        return bytes;
    }

    std::vector<ByteVector> packed_, bfloat16_;
    BackgroundChecks checks_;
};

}  // namespace

void bind_checks(nb::module_& m) {
    m.def("count_codes", &count_codes_of, "packed"_a, "threads"_a);
    m.def("all_finite", &are_all_finite, "bfloat16"_a, "threads"_a);
    nb::class_<Checks>(m, "BackgroundChecks")
        .def(nb::init<std::vector<ByteVector>, std::vector<ByteVector>, std::size_t>(), "packed"_a, "bfloat16"_a,
             "threads"_a)
        .def_prop_ro("done_bytes", &Checks::done)
        .def("wait", &Checks::wait, "seconds"_a)
        .def("results", &Checks::results);
}

}  // namespace bitnet
