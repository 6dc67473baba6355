// Binds the weights of a model: Linear, Layer, Table.
#include "python/weights.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>

#include <string>

namespace bitnet {

namespace {

const float* data_or_null(const std::optional<FloatVector>& array) { return array ? array->data() : nullptr; }

PyLayer make_layer(const FloatVector& input_layernorm, const FloatVector& post_attention_layernorm,
                   const std::optional<FloatVector>& attn_sub_norm, const std::optional<FloatVector>& ffn_sub_norm,
                   const std::optional<FloatVector>& q_norm, const std::optional<FloatVector>& k_norm,
                   const PyLinear& q, const PyLinear& k, const PyLinear& v, const PyLinear& o, const PyLinear& gate,
                   const PyLinear& up, const PyLinear& down) {
    PyLayer result{{input_layernorm, post_attention_layernorm}, {q, k, v, o, gate, up, down}, {}};
    for (const auto& norm : {attn_sub_norm, ffn_sub_norm, q_norm, k_norm})
        if (norm) result.norms.push_back(*norm);
    Layer& layer = result.layer;
    layer.input_layernorm = input_layernorm.data();
    layer.post_attention_layernorm = post_attention_layernorm.data();
    layer.attn_sub_norm = data_or_null(attn_sub_norm);
    layer.ffn_sub_norm = data_or_null(ffn_sub_norm);
    layer.q_norm = data_or_null(q_norm);
    layer.k_norm = data_or_null(k_norm);
    for (std::size_t i = 0; i < kLinears.size(); ++i) layer.*kLinears[i].member = result.linears[i].linear;
    return result;
}

}  // namespace

PyLinear::PyLinear(ByteMatrix packed, float scale, std::optional<FloatVector> input_norm,
                   std::optional<std::pair<std::size_t, std::size_t>> dense)
    : packed(std::move(packed)), input_norm(std::move(input_norm)) {
    const std::size_t rows = this->packed.shape(0), bytes = this->packed.shape(1);
    linear.weight = {this->packed.data(), 4 * rows, bytes, scale, TernaryForm::stored};
    if (dense) linear.weight = {this->packed.data(), dense->first, dense->second, scale, TernaryForm::dense};
    require(rows == byte_rows(linear.weight) && bytes == row_bytes(linear.weight),
            "packed does not have the shape that dense weights take");
    set_input_norm();
}

PyLinear::PyLinear(ByteMatrix packed, std::size_t out, std::size_t in, std::size_t group,
                   std::optional<FloatVector> input_norm)
    : packed(std::move(packed)), input_norm(std::move(input_norm)) {
    require((group == 64 || group == 128) && in % group == 0,
            "groups are of 64 or 128 columns, and columns whole groups");
    linear.weight = {this->packed.data(), out, in, 0.0f, TernaryForm::grouped, group};
    require(this->packed.shape(0) == byte_rows(linear.weight) && this->packed.shape(1) == row_bytes(linear.weight),
            "packed does not have the shape that grouped weights take");
    set_input_norm();
}

void PyLinear::set_input_norm() {
    linear.input_norm = data_or_null(input_norm);
    require(linear.input_norm == nullptr || input_norm->shape(0) == linear.weight.in,
            "input_norm and packed have different columns");
}

void PyLinear::adapt(FloatMatrix a, FloatMatrix b, float scaling) {
    require(a.shape(0) > 0 && a.shape(0) == b.shape(0), "a and b do not have the same rank");
    require(a.shape(1) == linear.weight.in && b.shape(1) == linear.weight.out,
            "the adapter does not have the shape of its linear");
    linear.adapter = {a.data(), b.data(), a.shape(0), a.shape(1), b.shape(1), scaling};
    adapter.emplace(std::move(a), std::move(b));
}

PyTable::PyTable(ByteMatrix bytes, int file, std::uint64_t offset)
    : bytes(std::move(bytes)),
      table{{this->bytes.data(), this->bytes.shape(1) / 2, file, offset}, {}},
      rows(this->bytes.shape(0)),
      columns(this->bytes.shape(1) / 2) {}

PyTable::PyTable(const PyLinear& grouped)
    : bytes(grouped.packed),
      table{{nullptr, 0}, grouped.linear.weight},
      rows(grouped.linear.weight.out),
      columns(grouped.linear.weight.in) {
    require(grouped.linear.weight.form == TernaryForm::grouped, "a ternary table is in the grouped form");
}

void check_form(const Kernels& kernels, const TernaryMatrix& weight) {
    require(weight.form != TernaryForm::dense || kernels.pack_dense != nullptr,
            "the instruction set has no dense form");
}

void check_forms(const Kernels& kernels, const PyLayer& layer) {
    for (const PyLinear& linear : layer.linears) check_form(kernels, linear.linear.weight);
}

void check_layer(const PyLayer& py, const Shape& shape) {
    const Layer& layer = py.layer;
    for (const LinearField& field : kLinears) {
        const TernaryMatrix& weight = (layer.*field.member).weight;
        const bool fits = weight.out == (shape.*field.out_features)() && weight.in == (shape.*field.in_features)();
        require(fits, (std::string("a layer's ") + field.name + " does not have the model's shape").c_str());
    }
    require(layer.gate.weight.form == layer.up.weight.form, "gate_proj and up_proj are not of the same form");
    for (const LinearField& field : kLinears)
        require((layer.*field.member).weight.group == layer.q.weight.group,
                "a layer's linears do not have the same groups of columns");
    std::size_t next = 2;
    bool fits = py.norms[0].shape(0) == shape.hidden && py.norms[1].shape(0) == shape.hidden;
    const auto check = [&](const float* norm, std::size_t size) {
        if (norm != nullptr) fits = py.norms[next++].shape(0) == size && fits;
    };
    check(layer.attn_sub_norm, shape.query_features());
    check(layer.ffn_sub_norm, shape.intermediate);
    check(layer.q_norm, shape.head_dim);
    check(layer.k_norm, shape.head_dim);
    require(fits, "a layer's norms do not have the model's shapes");
}

void bind_weights(nb::module_& m) {
    nb::class_<PyLinear>(m, "Linear")
        .def(nb::init<ByteMatrix, float, std::optional<FloatVector>,
                      std::optional<std::pair<std::size_t, std::size_t>>>(),
             "packed"_a, "scale"_a, "input_norm"_a.none(), "dense"_a.none() = nb::none())
        .def(nb::init<ByteMatrix, std::size_t, std::size_t, std::size_t, std::optional<FloatVector>>(), nb::kw_only(),
             "packed"_a, "out_features"_a, "in_features"_a, "group"_a, "input_norm"_a.none() = nb::none())
        .def("adapt", &PyLinear::adapt, "a"_a.noconvert(), "b"_a.noconvert(), "scaling"_a);

    nb::class_<PyTable>(m, "Table")
        .def(nb::init<ByteMatrix, int, std::uint64_t>(), "bytes"_a, "file"_a = -1, "offset"_a = 0)
        .def(nb::init<const PyLinear&>(), "grouped"_a);

    nb::class_<PyLayer>(m, "Layer")
        .def(nb::new_(&make_layer), nb::kw_only(), "input_layernorm"_a, "post_attention_layernorm"_a,
             "attn_sub_norm"_a.none() = nb::none(), "ffn_sub_norm"_a.none() = nb::none(),
             "q_norm"_a.none() = nb::none(), "k_norm"_a.none() = nb::none(), "q_proj"_a, "k_proj"_a, "v_proj"_a,
             "o_proj"_a, "gate_proj"_a, "up_proj"_a, "down_proj"_a);
}

}  // namespace bitnet
