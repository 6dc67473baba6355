// The Python module bitnet_tt._native: the decoder, and single kernels for tests.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "decoder/decoder.hpp"
#include "kernels/select.hpp"
#include "runtime/errors.hpp"
#include "runtime/roofs.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace bitnet {
namespace {

// Weights come as bytes, because checkpoints put float32 and bfloat16 at odd addresses too.
using Bytes = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Integers = nb::ndarray<const std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntegerMatrix = nb::ndarray<const std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Output = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using IntegerOutput = nb::ndarray<std::int32_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using ByteOutput = nb::ndarray<std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Output1 = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using IntegerOutput1 = nb::ndarray<std::int32_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

void require_form(const Kernels& kernels, const TernaryMatrix& weight) {
    require(weight.form == TernaryForm::stored || kernels.pack_dense != nullptr,
            "the instruction set has no dense form");
}

const float* data_or_null(const std::optional<Floats>& array) { return array ? array->data() : nullptr; }

// A Linear or Layer in Python holds the arrays it points into.
struct PyLinear {
    PyLinear(Bytes packed, float scale, std::optional<Floats> input_norm,
             std::optional<std::pair<std::size_t, std::size_t>> dense)
        : packed(std::move(packed)), input_norm(std::move(input_norm)) {
        const std::size_t rows = this->packed.shape(0), bytes = this->packed.shape(1);
        linear.weight = {this->packed.data(), 4 * rows, bytes, scale, TernaryForm::stored};
        if (dense) linear.weight = {this->packed.data(), dense->first, dense->second, scale, TernaryForm::dense};
        require(rows == byte_rows(linear.weight) && bytes == row_bytes(linear.weight),
                "packed does not have the shape that dense weights take");
        linear.input_norm = data_or_null(this->input_norm);
        require(linear.input_norm == nullptr || this->input_norm->shape(0) == linear.weight.in,
                "input_norm and packed have different columns");
    }
    Bytes packed;
    std::optional<Floats> input_norm;
    Linear linear;
};

struct PyLayer {
    std::vector<Floats> norms;
    std::vector<PyLinear> linears;
    Layer layer;
};

PyLayer make_layer(const Floats& input_layernorm, const Floats& post_attention_layernorm,
                   const std::optional<Floats>& attn_sub_norm, const std::optional<Floats>& ffn_sub_norm,
                   const PyLinear& q, const PyLinear& k, const PyLinear& v, const PyLinear& o, const PyLinear& gate,
                   const PyLinear& up, const PyLinear& down) {
    PyLayer result{{input_layernorm, post_attention_layernorm}, {q, k, v, o, gate, up, down}, {}};
    for (const auto& norm : {attn_sub_norm, ffn_sub_norm})
        if (norm) result.norms.push_back(*norm);
    result.layer = {input_layernorm.data(),
                    post_attention_layernorm.data(),
                    data_or_null(attn_sub_norm),
                    data_or_null(ffn_sub_norm),
                    q.linear,
                    k.linear,
                    v.linear,
                    o.linear,
                    gate.linear,
                    up.linear,
                    down.linear};
    return result;
}

// The shapes once more where memory would be read out of bounds; Python has reported users' mistakes before.
void check_layer(const PyLayer& py, const Shape& shape) {
    const Layer& l = py.layer;
    const std::size_t query = shape.query_features(), kv = shape.kv_features();
    const auto fits = [](const Linear& linear, std::size_t out, std::size_t in) {
        return linear.weight.out == out && linear.weight.in == in;
    };
    require(fits(l.q, query, shape.hidden) && fits(l.k, kv, shape.hidden) && fits(l.v, kv, shape.hidden) &&
                fits(l.o, shape.hidden, query) && fits(l.gate, shape.intermediate, shape.hidden) &&
                fits(l.up, shape.intermediate, shape.hidden) && fits(l.down, shape.hidden, shape.intermediate),
            "a layer's linears do not have the model's shapes");
    require(l.gate.weight.form == l.up.weight.form, "gate_proj and up_proj are not of the same form");
    std::size_t next = 2;
    bool good = py.norms[0].shape(0) == shape.hidden && py.norms[1].shape(0) == shape.hidden;
    if (l.attn_sub_norm != nullptr) good = py.norms[next++].shape(0) == query && good;
    if (l.ffn_sub_norm != nullptr) good = py.norms[next].shape(0) == shape.intermediate && good;
    require(good, "a layer's norms do not have the model's shapes");
}

struct PyTable {
    PyTable(Bytes bytes, int file, std::uint64_t offset)
        : bytes(std::move(bytes)), table{this->bytes.data(), this->bytes.shape(1) / 2, file, offset} {}
    Bytes bytes;
    Bfloat16Table table;
};

struct PyDecoder {
    PyDecoder(const Shape& shape, PyTable embedding, std::vector<PyLayer> layers, Floats norm, PyTable head, Matrix cos,
              Matrix sin, std::size_t threads, std::size_t thread_work, const std::string& isa)
        : embedding(std::move(embedding)),
          head(std::move(head)),
          norm(std::move(norm)),
          cos(std::move(cos)),
          sin(std::move(sin)),
          layers(std::move(layers)),
          decoder(make_model(shape, select_kernels(isa)), select_kernels(isa), threads, thread_work) {}

    Model make_model(Shape shape, const Kernels& kernels) const {
        require(shape.heads > 0 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim % 2 == 0,
                "heads, kv_heads or head_dim cannot be");
        shape.layers = layers.size();
        const auto is_table = [&](const PyTable& table) {
            return table.bytes.shape(0) == shape.vocab && table.bytes.shape(1) == 2 * shape.hidden;
        };
        require(is_table(embedding) && is_table(head), "embedding or head is not [vocab, hidden] of bfloat16");
        require(norm.shape(0) == shape.hidden, "norm is not [hidden]");
        require(cos.shape(1) == shape.head_dim / 2 && sin.shape(1) == cos.shape(1) && sin.shape(0) == cos.shape(0),
                "cos and sin are not [length, head_dim / 2]");
        Model model{shape, {}, embedding.table, head.table, norm.data(), cos.data(), sin.data(), cos.shape(0)};
        for (const PyLayer& layer : layers) {
            check_layer(layer, shape);
            for (const PyLinear& linear : layer.linears) require_form(kernels, linear.linear.weight);
            model.layers.push_back(layer.layer);
        }
        return model;
    }

    static Batch make_batch(const Integers& token_ids, const Integers& starts, const Integers& positions,
                            const IntegerMatrix& block_tables, const Integers& logit_rows) {
        const std::size_t sequences = positions.shape(0);
        require(starts.shape(0) == sequences + 1 && block_tables.shape(0) == sequences,
                "batch: starts, positions and block_tables disagree on the number of sequences");
        return {token_ids.data(),    token_ids.shape(0),    starts.data(),     positions.data(),   sequences,
                block_tables.data(), block_tables.shape(1), logit_rows.data(), logit_rows.shape(0)};
    }

    void forward(const Integers& token_ids, const Integers& starts, const Integers& positions,
                 const IntegerMatrix& block_tables, const Integers& logit_rows, const Output& logits) {
        require(logits.shape(0) == logit_rows.shape(0) && logits.shape(1) == vocab(), "logits is not [rows, vocab]");
        const Batch batch = make_batch(token_ids, starts, positions, block_tables, logit_rows);
        const nb::gil_scoped_release release;
        decoder.forward(batch, logits.data());
    }

    void forward_greatest(const Integers& token_ids, const Integers& starts, const Integers& positions,
                          const IntegerMatrix& block_tables, const Integers& logit_rows, const Integers& cut_counts,
                          const Floats& cut_margins, const Floats& cut_temperatures, const IntegerOutput& ids,
                          const Output& logits, const IntegerOutput1& counts, const Output1& rests) {
        const std::size_t rows = logit_rows.shape(0);
        require(cut_counts.shape(0) == rows && cut_margins.shape(0) == rows && cut_temperatures.shape(0) == rows &&
                    counts.shape(0) == rows && rests.shape(0) == rows,
                "cuts, counts or rests are not [rows]");
        require(ids.shape(0) == rows && logits.shape(0) == rows && ids.shape(1) == Head::kMost &&
                    logits.shape(1) == Head::kMost,
                "ids or logits are not [rows, most_candidates]");
        std::vector<Cut> cuts;
        for (std::size_t row = 0; row < rows; ++row) {
            const std::int32_t count = cut_counts.data()[row];
            require(count >= 0 && static_cast<std::size_t>(count) <= Head::kMost, "a cut keeps too many");
            cuts.push_back({static_cast<std::size_t>(count), cut_margins.data()[row], cut_temperatures.data()[row]});
        }
        const Batch batch = make_batch(token_ids, starts, positions, block_tables, logit_rows);
        const nb::gil_scoped_release release;
        decoder.forward_greatest(batch, cuts.data(), {ids.data(), logits.data(), counts.data(), rests.data()});
    }

    void whole_row(std::size_t row, const Output& logits) {
        require(row < decoder.head().rows(), "the last step has no such row");
        require(logits.shape(0) == 1 && logits.shape(1) == vocab(), "logits is not [1, vocab]");
        const nb::gil_scoped_release release;
        decoder.head().logits(row, 1, logits.data());
    }

    // Rows of name, calls, seconds, seconds of waiting (the mean of the threads), bytes read.
    std::vector<nb::tuple> stop_profile() {
        std::vector<nb::tuple> rows;
        const std::vector<PhaseTime> phases = decoder.profile().stop();
        for (std::size_t kind = 0; kind < phases.size(); ++kind) {
            const PhaseTime& phase = phases[kind];
            const double wall = std::chrono::duration<double>(phase.wall).count();
            const double idle = std::chrono::duration<double>(phase.available - phase.work).count();
            const double available = std::chrono::duration<double>(phase.available).count();
            rows.push_back(nb::make_tuple(Decoder::phase_names()[kind], phase.calls, wall,
                                          available > 0 ? wall * idle / available : 0.0, phase.bytes));
        }
        return rows;
    }

    std::size_t vocab() const { return embedding.bytes.shape(0); }

    PyTable embedding, head;
    Floats norm;
    Matrix cos, sin;
    std::vector<PyLayer> layers;
    Decoder decoder;
};

template <typename T>
nb::ndarray<nb::numpy, T> to_numpy(std::vector<T> values, std::initializer_list<std::size_t> shape) {
    auto* owned = new std::vector<T>(std::move(values));
    const nb::capsule owner(owned, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return nb::ndarray<nb::numpy, T>(owned->data(), shape, owner);
}

struct Quantized {
    std::size_t stride;
    std::vector<std::int8_t> values;
    std::vector<float> scales;
    std::vector<std::int32_t> sums;
};

Quantized quantize_rows(const Kernels& kernels, const Matrix& x) {
    const std::size_t tokens = x.shape(0), stride = round_up(x.shape(1), 64);
    Quantized q{stride, std::vector<std::int8_t>(tokens * stride), std::vector<float>(tokens),
                std::vector<std::int32_t>(tokens)};
    for (std::size_t t = 0; t < tokens; ++t)
        kernels.quantize(x.data() + t * x.shape(1), x.shape(1), q.values.data() + t * stride, &q.scales[t], &q.sums[t]);
    return q;
}

nb::tuple quantize(const Matrix& x, const std::string& isa) {
    Quantized q = quantize_rows(select_kernels(isa), x);
    const std::size_t tokens = x.shape(0);
    return nb::make_tuple(to_numpy(std::move(q.values), {tokens, q.stride}), to_numpy(std::move(q.scales), {tokens}));
}

nb::ndarray<nb::numpy, float> bit_linear(const PyLinear& linear, const Matrix& x, const std::string& isa) {
    const TernaryMatrix& weight = linear.linear.weight;
    require(x.shape(1) == weight.in, "x and packed have different columns");
    const Kernels& kernels = select_kernels(isa);
    const Quantized q = quantize_rows(kernels, x);
    require_form(kernels, weight);
    const std::size_t tokens = x.shape(0), out = weight.out;
    std::vector<float> y(tokens * out);
    kernels.linear(weight, {q.values.data(), q.stride, q.scales.data(), q.sums.data(), tokens}, 0, byte_rows(weight),
                   y.data(), out);
    return to_numpy(std::move(y), {tokens, out});
}

bool packs_dense(const std::string& isa) { return select_kernels(isa).pack_dense != nullptr; }

nb::tuple dense_shape(std::size_t out, std::size_t in) {
    const TernaryMatrix weight{nullptr, out, in, 0.0f, TernaryForm::dense};
    return nb::make_tuple(byte_rows(weight), row_bytes(weight));
}

void pack_dense(const Bytes& packed, const ByteOutput& dense, const std::string& isa) {
    const Kernels& kernels = select_kernels(isa);
    const TernaryMatrix weight{packed.data(), 4 * packed.shape(0), packed.shape(1), 0.0f, TernaryForm::stored};
    TernaryMatrix target = weight;
    target.form = TernaryForm::dense;
    require_form(kernels, target);
    require(dense.shape(0) == byte_rows(target) && dense.shape(1) == row_bytes(target),
            "dense does not have the shape that dense weights take");
    const nb::gil_scoped_release release;
    std::vector<std::uint8_t> indices(weight.in);
    kernels.pack_dense(weight, 0, byte_rows(target), indices.data(), dense.data());
}

std::vector<std::string> available_isas() {
    std::vector<std::string> names;
    for (const Kernels* table : available_kernels()) names.emplace_back(table->name);
    return names;
}

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

void raise(const char* name, const char* message) {
    nb::object type = nb::module_::import_("bitnet_tt.errors").attr(name);
    PyErr_SetString(type.ptr(), message);
}

void translate(const std::exception_ptr& exception, void*) {
    try {
        std::rethrow_exception(exception);
    } catch (const DeviceError& error) {
        raise("DeviceError", error.what());
    } catch (const RequestError& error) {
        raise("RequestError", error.what());
    }
}

}  // namespace
}  // namespace bitnet

void bind_checks(nb::module_& m);  // checks.cpp

NB_MODULE(_native, m) {
    using namespace bitnet;
    nb::set_leak_warnings(false);  // a backend that lives until the interpreter ends is no leak
    nb::register_exception_translator(translate);
    bind_checks(m);

    m.attr("MOST_CANDIDATES") = Head::kMost;
    m.def("available_isas", &available_isas);
    m.def("quantize", &quantize, "x"_a, "isa"_a);
    m.def("bit_linear", &bit_linear, "linear"_a, "x"_a, "isa"_a);

    m.def("measure_read_bandwidth", &read_bandwidth, "threads"_a, "bytes"_a, "passes"_a = 5);
    m.def("measure_int8_peak", &int8_peak, "threads"_a, "isa"_a, "seconds"_a = 0.2, "passes"_a = 5);

    m.def("packs_dense", &packs_dense, "isa"_a);
    m.def("dense_shape", &dense_shape, "out_features"_a, "in_features"_a);
    m.def("pack_dense", &pack_dense, "packed"_a, "dense"_a, "isa"_a);

    nb::class_<PyLinear>(m, "Linear")
        .def(nb::init<Bytes, float, std::optional<Floats>, std::optional<std::pair<std::size_t, std::size_t>>>(),
             "packed"_a, "scale"_a, "input_norm"_a.none(), "dense"_a.none() = nb::none());

    nb::class_<PyTable>(m, "Table")
        .def(nb::init<Bytes, int, std::uint64_t>(), "bytes"_a, "file"_a = -1, "offset"_a = 0);

    nb::class_<PyLayer>(m, "Layer")
        .def(nb::new_(&make_layer), nb::kw_only(), "input_layernorm"_a, "post_attention_layernorm"_a,
             "attn_sub_norm"_a.none() = nb::none(), "ffn_sub_norm"_a.none() = nb::none(), "q_proj"_a, "k_proj"_a,
             "v_proj"_a, "o_proj"_a, "gate_proj"_a, "up_proj"_a, "down_proj"_a);

    nb::enum_<HiddenAct>(m, "HiddenAct").value("relu2", HiddenAct::relu2).value("silu", HiddenAct::silu);

    nb::class_<Shape>(m, "Shape")
        .def(
            "__init__",
            [](Shape* self, std::size_t vocab, std::size_t hidden, std::size_t intermediate, std::size_t heads,
               std::size_t kv_heads, std::size_t head_dim, float norm_eps, float input_norm_eps, HiddenAct act) {
                new (self) Shape{vocab, hidden,   intermediate, 0,  // layers are counted later
                                 heads, kv_heads, head_dim,     norm_eps, input_norm_eps, act};
            },
            nb::kw_only(), "vocab"_a, "hidden"_a, "intermediate"_a, "heads"_a, "kv_heads"_a, "head_dim"_a, "norm_eps"_a,
            "input_norm_eps"_a, "act"_a);

    nb::class_<PyDecoder>(m, "Decoder")
        .def(nb::init<const Shape&, PyTable, std::vector<PyLayer>, Floats, PyTable, Matrix, Matrix, std::size_t,
                      std::size_t, const std::string&>(),
             nb::kw_only(), "shape"_a, "embedding"_a, "layers"_a, "norm"_a, "head"_a, "cos"_a, "sin"_a, "threads"_a,
             "thread_work"_a, "isa"_a)
        .def(
            "allocate",
            [](PyDecoder& self, std::size_t blocks, std::size_t block_size) {
                self.decoder.allocate(blocks, block_size);
            },
            "num_blocks"_a, "block_size"_a)
        .def("forward", &PyDecoder::forward, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
             "positions"_a.noconvert(), "block_tables"_a.noconvert(), "logit_rows"_a.noconvert(),
             "logits"_a.noconvert())
        .def("forward_greatest", &PyDecoder::forward_greatest, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
             "positions"_a.noconvert(), "block_tables"_a.noconvert(), "logit_rows"_a.noconvert(),
             "cut_counts"_a.noconvert(), "cut_margins"_a.noconvert(), "cut_temperatures"_a.noconvert(),
             "ids"_a.noconvert(), "logits"_a.noconvert(), "counts"_a.noconvert(), "rests"_a.noconvert())
        .def("whole_row", &PyDecoder::whole_row, "row"_a, "logits"_a.noconvert())
        .def_prop_ro("head_bytes_read", [](PyDecoder& self) { return self.decoder.head().bytes_read(); })
        .def_prop_ro("weight_bytes", [](PyDecoder& self) { return self.decoder.weight_bytes(); })
        .def_prop_ro("file_bytes", [](PyDecoder& self) { return self.decoder.file_bytes(); })
        .def_prop_ro("screen_bytes", [](PyDecoder& self) { return self.decoder.head().screen_bytes(); })
        .def_prop_ro("kv_cache_bytes", [](PyDecoder& self) { return self.decoder.cache_bytes(); })
        .def_prop_ro("logits_computed", [](PyDecoder& self) { return self.decoder.head().computed(); })
        .def("start_profile", [](PyDecoder& self) { self.decoder.profile().start(); })
        .def("stop_profile", &PyDecoder::stop_profile)
        .def_prop_ro("threads", [](const PyDecoder& self) { return self.decoder.threads(); })
        .def_prop_ro("isa", [](const PyDecoder& self) { return self.decoder.kernels().name; });
}
