// NumPy arrays as native code takes them, and a check that raises ValueError.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <utility>
#include <vector>

namespace nb = nanobind;
using namespace nb::literals;

namespace bitnet {

// A C-contiguous array of `Rank` dimensions. Const elements accept read-only arrays too, such as those of mapped files.
template <typename T, int Rank>
using Array = nb::ndarray<T, nb::ndim<Rank>, nb::c_contig, nb::device::cpu>;

// Weights come as bytes, because checkpoints put float32 and bfloat16 at odd addresses too.
using ByteVector = Array<const std::uint8_t, 1>;
using ByteMatrix = Array<const std::uint8_t, 2>;
using FloatVector = Array<const float, 1>;
using FloatMatrix = Array<const float, 2>;
using IntVector = Array<const std::int32_t, 1>;
using IntMatrix = Array<const std::int32_t, 2>;
using WordMatrix = Array<const std::uint32_t, 2>;

// Arrays that native code writes to.
using OutByteMatrix = Array<std::uint8_t, 2>;
using OutFloatVector = Array<float, 1>;
using OutFloatMatrix = Array<float, 2>;
using OutIntVector = Array<std::int32_t, 1>;
using OutIntMatrix = Array<std::int32_t, 2>;

// std::invalid_argument becomes ValueError.
inline void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

// Returns a NumPy array that owns `values`.
template <typename T>
nb::ndarray<nb::numpy, T> to_numpy(std::vector<T> values, std::initializer_list<std::size_t> shape) {
    auto* owned = new std::vector<T>(std::move(values));
    const nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T>(owned->data(), shape, owner);
}

// Each adds one subject to the module; the file of that name has it.
void bind_weights(nb::module_& m);
void bind_decoder(nb::module_& m);
void bind_kernels(nb::module_& m);
void bind_checks(nb::module_& m);
void bind_measure(nb::module_& m);

}  // namespace bitnet
