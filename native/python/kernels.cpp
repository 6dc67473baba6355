// Binds what loading needs, the dense form of ternary weights and where memory lies, and single kernels for tests.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>

#include "kernels/select.hpp"
#include "python/weights.hpp"
#include "runtime/memory.hpp"

namespace bitnet {

namespace {

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Kernels* table : available_kernels()) names.emplace_back(table->name);
    return names;
}

bool packs_dense(const std::string& isa) { return select_kernels(isa).pack_dense != nullptr; }

nb::tuple dense_shape(std::size_t out, std::size_t in) {
    const TernaryMatrix weight{nullptr, out, in, 0.0f, TernaryForm::dense};
    return nb::make_tuple(byte_rows(weight), row_bytes(weight));
}

void pack_dense(const ByteMatrix& packed, const OutByteMatrix& dense, const std::string& isa) {
    const Kernels& kernels = select_kernels(isa);
    const TernaryMatrix weight{packed.data(), 4 * packed.shape(0), packed.shape(1), 0.0f, TernaryForm::stored};
    TernaryMatrix target = weight;
    target.form = TernaryForm::dense;
    check_form(kernels, target);
    require(dense.shape(0) == byte_rows(target) && dense.shape(1) == row_bytes(target),
            "dense does not have the shape that dense weights take");
    const nb::gil_scoped_release release;
    std::vector<std::uint8_t> indices(weight.in);
    kernels.pack_dense(weight, 0, byte_rows(target), indices.data(), dense.data());
}

void interleave(const Array<std::uint8_t, 1>& memory) { interleave_pages(memory.data(), memory.size()); }

// Rows [tokens, stride] with zeros beyond the columns; see Activations.
struct Quantized {
    std::size_t stride;
    std::vector<std::int8_t> values;
    std::vector<float> scales;
    std::vector<std::int32_t> sums;
};

Quantized quantize_rows(const Kernels& kernels, const FloatMatrix& x) {
    const std::size_t tokens = x.shape(0), stride = round_up(x.shape(1), 64);
    Quantized q{stride, std::vector<std::int8_t>(tokens * stride), std::vector<float>(tokens),
                std::vector<std::int32_t>(tokens)};
    for (std::size_t t = 0; t < tokens; ++t)
        kernels.quantize(x.data() + t * x.shape(1), x.shape(1), q.values.data() + t * stride, &q.scales[t], &q.sums[t]);
    return q;
}

nb::tuple quantize(const FloatMatrix& x, const std::string& isa) {
    Quantized q = quantize_rows(select_kernels(isa), x);
    const std::size_t tokens = x.shape(0);
    return nb::make_tuple(to_numpy(std::move(q.values), {tokens, q.stride}), to_numpy(std::move(q.scales), {tokens}));
}

Quantized quantize_groups(const Kernels& kernels, const FloatMatrix& x, std::size_t group) {
    const std::size_t tokens = x.shape(0), in = x.shape(1), groups = in / group;
    Quantized q{in, std::vector<std::int8_t>(tokens * in), std::vector<float>(tokens * groups),
                std::vector<std::int32_t>(tokens * groups)};
    for (std::size_t t = 0; t < tokens; ++t)
        kernels.quantize_groups(x.data() + t * in, in, group, q.values.data() + t * in, &q.scales[t * groups],
                                &q.sums[t * groups]);
    return q;
}

nb::ndarray<nb::numpy, float> bit_linear(const PyLinear& linear, const FloatMatrix& x, const std::string& isa) {
    const TernaryMatrix& weight = linear.linear.weight;
    require(x.shape(1) == weight.in, "x and packed have different columns");
    const Kernels& kernels = select_kernels(isa);
    const Quantized q =
        weight.form == TernaryForm::grouped ? quantize_groups(kernels, x, weight.group) : quantize_rows(kernels, x);
    check_form(kernels, weight);
    const std::size_t tokens = x.shape(0), out = weight.out;
    std::vector<float> y(tokens * out);
    kernels.linear(weight, {q.values.data(), q.stride, q.scales.data(), q.sums.data(), tokens}, 0, byte_rows(weight),
                   y.data(), out);
    return to_numpy(std::move(y), {tokens, out});
}

}  // namespace

void bind_kernels(nb::module_& m) {
    m.def("check_isa", [](const std::string& isa) { select_kernels(isa); }, "isa"_a);
    m.def("available_isas", &available_isas);
    m.def("packs_dense", &packs_dense, "isa"_a);
    m.def("dense_shape", &dense_shape, "out_features"_a, "in_features"_a);
    m.def("pack_dense", &pack_dense, "packed"_a, "dense"_a, "isa"_a);
    m.def("spread_memory", &spread_memory, "nodes"_a);
    m.def("interleave_pages", &interleave, "memory"_a);
    m.def("quantize", &quantize, "x"_a, "isa"_a);
    m.def("bit_linear", &bit_linear, "linear"_a, "x"_a, "isa"_a);
}

}  // namespace bitnet
