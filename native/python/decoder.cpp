// Binds the decoder: Shape, HiddenAct, Decoder.
#include "decoder/decoder.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "kernels/select.hpp"
#include "python/weights.hpp"

namespace bitnet {

namespace {

// A decoder with the arrays that its model points into.
struct PyDecoder {
    PyDecoder(const Shape& shape, PyTable embedding, std::vector<PyLayer> layers, FloatVector norm, PyTable head,
              FloatMatrix cos, FloatMatrix sin, std::size_t threads, std::size_t thread_work, const std::string& isa)
        : embedding(std::move(embedding)),
          head(std::move(head)),
          norm(std::move(norm)),
          cos(std::move(cos)),
          sin(std::move(sin)),
          layers(std::move(layers)),
          decoder(make_model(shape, select_kernels(isa)), select_kernels(isa), threads, thread_work) {}

    Model make_model(Shape shape, const Kernels& kernels) const {
        require(shape.heads > 0 && shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0 && shape.head_dim % 2 == 0,
                "heads must be a multiple of kv_heads, neither may be 0, and head_dim must be even");
        shape.layers = layers.size();
        const auto is_table = [&](const PyTable& table) {
            return table.rows == shape.vocab && table.columns == shape.hidden;
        };
        require(is_table(embedding) && is_table(head), "embedding or head is not [vocab, hidden]");
        require(norm.shape(0) == shape.hidden, "norm is not [hidden]");
        require(cos.shape(1) == shape.head_dim / 2 && sin.shape(1) == cos.shape(1) && sin.shape(0) == cos.shape(0),
                "cos and sin are not [length, head_dim / 2]");
        Model model{shape, {}, embedding.table, head.table, norm.data(), cos.data(), sin.data(), cos.shape(0)};
        for (const PyLayer& layer : layers) {
            check_layer(layer, shape);
            check_forms(kernels, layer);
            model.layers.push_back(layer.layer);
        }
        return model;
    }

    static Batch make_batch(const IntVector& token_ids, const IntVector& starts, const IntVector& positions,
                            const IntMatrix& block_tables, const IntVector& logit_rows) {
        const std::size_t sequences = positions.shape(0);
        require(starts.shape(0) == sequences + 1 && block_tables.shape(0) == sequences,
                "batch: starts, positions and block_tables disagree on the number of sequences");
        return {token_ids.data(),    token_ids.shape(0),    starts.data(),     positions.data(),   sequences,
                block_tables.data(), block_tables.shape(1), logit_rows.data(), logit_rows.shape(0)};
    }

    void replace_layer(std::size_t index, PyLayer layer) {
        require(index < layers.size(), "the model has no such layer");
        check_layer(layer, decoder.model().shape);
        check_forms(decoder.kernels(), layer);
        decoder.replace_layer(index, layer.layer);
        layers[index] = std::move(layer);
    }

    void allocate(std::size_t num_blocks, std::size_t block_size) { decoder.allocate(num_blocks, block_size); }

    void forward(const IntVector& token_ids, const IntVector& starts, const IntVector& positions,
                 const IntMatrix& block_tables, const IntVector& logit_rows, const OutFloatMatrix& logits) {
        require(logits.shape(0) == logit_rows.shape(0) && logits.shape(1) == vocab(), "logits is not [rows, vocab]");
        const Batch batch = make_batch(token_ids, starts, positions, block_tables, logit_rows);
        const nb::gil_scoped_release release;
        decoder.forward(batch, logits.data());
    }

    // Runs a step without the lm_head.
    void forward_layers(const IntVector& token_ids, const IntVector& starts, const IntVector& positions,
                        const IntMatrix& block_tables, const IntVector& logit_rows) {
        const Batch batch = make_batch(token_ids, starts, positions, block_tables, logit_rows);
        const nb::gil_scoped_release release;
        decoder.forward_layers(batch);
    }

    // The filters come as arrays [rows], as _native.pyi says.
    std::vector<LogitFilter> make_filters(std::size_t rows, const IntVector& counts, const WordMatrix& noises,
                                          const FloatVector& noise_scales, const WordMatrix& masks) const {
        require(
            counts.shape(0) == rows && noise_scales.shape(0) == rows && noises.shape(0) == rows && noises.shape(1) == 4,
            "filters are not [rows], or their noises not [rows, 4]");
        const std::size_t words = (vocab() + 31) / 32;
        require(masks.shape(0) == 0 || (masks.shape(0) == rows && masks.shape(1) == words),
                "masks is not [rows, vocab / 32 rounded up], or empty");
        std::vector<LogitFilter> filters;
        for (std::size_t row = 0; row < rows; ++row) {
            const std::int32_t count = counts.data()[row];
            require(count >= 1 && static_cast<std::size_t>(count) <= kMaxCandidates,
                    "a filter's count is below 1 or more than MAX_CANDIDATES");
            const std::uint32_t* noise = noises.data() + row * 4;
            filters.push_back({static_cast<std::size_t>(count),
                               {{noise[0], noise[1]}, noise[2], noise[3], noise_scales.data()[row]},
                               masks.shape(0) == 0 ? nullptr : masks.data() + row * words});
        }
        return filters;
    }

    // The candidates go to three arrays, as _native.pyi says.
    static Head::CandidateRows make_results(std::size_t rows, const OutIntMatrix& ids, const OutFloatMatrix& logits,
                                            const OutIntVector& counts) {
        require(ids.shape(0) == rows && logits.shape(0) == rows && ids.shape(1) == kMaxCandidates &&
                    logits.shape(1) == kMaxCandidates,
                "ids or logits are not [rows, MAX_CANDIDATES]");
        require(counts.shape(0) == rows, "counts is not [rows]");
        return {ids.data(), logits.data(), counts.data()};
    }

    void forward_candidates(const IntVector& token_ids, const IntVector& starts, const IntVector& positions,
                            const IntMatrix& block_tables, const IntVector& logit_rows, const IntVector& filter_counts,
                            const WordMatrix& noises, const FloatVector& noise_scales, const WordMatrix& masks,
                            const OutIntMatrix& ids, const OutFloatMatrix& logits, const OutIntVector& counts) {
        const std::size_t rows = logit_rows.shape(0);
        const auto filters = make_filters(rows, filter_counts, noises, noise_scales, masks);
        const auto results = make_results(rows, ids, logits, counts);
        const Batch batch = make_batch(token_ids, starts, positions, block_tables, logit_rows);
        const nb::gil_scoped_release release;
        decoder.forward_candidates(batch, filters.data(), results);
    }

    void candidates(const IntVector& filter_counts, const WordMatrix& noises, const FloatVector& noise_scales,
                    const WordMatrix& masks, const OutIntMatrix& ids, const OutFloatMatrix& logits,
                    const OutIntVector& counts) {
        const std::size_t rows = decoder.head().rows();
        const auto filters = make_filters(rows, filter_counts, noises, noise_scales, masks);
        const auto results = make_results(rows, ids, logits, counts);
        const nb::gil_scoped_release release;
        decoder.candidates(filters.data(), results);
    }

    void whole_rows(std::size_t first, const OutFloatMatrix& logits) {
        const std::size_t rows = decoder.head().rows(), count = logits.shape(0);
        require(first <= rows && count <= rows - first, "the last step has no such rows");
        require(logits.shape(1) == vocab(), "logits is not [rows, vocab]");
        const nb::gil_scoped_release release;
        decoder.whole_rows(first, count, logits.data());
    }

    void hidden(const OutFloatMatrix& states) {
        const std::size_t rows = decoder.head().rows(), columns = embedding.columns;
        require(states.shape(0) == rows && states.shape(1) == columns, "states is not [rows, hidden]");
        std::copy_n(decoder.head().normed(), rows * columns, states.data());
    }

    void listed(std::size_t row, const IntVector& ids, const OutFloatVector& logits) {
        require(row < decoder.head().rows(), "the last step has no such row");
        require(logits.shape(0) == ids.shape(0), "logits is not [ids]");
        for (std::size_t i = 0; i < ids.shape(0); ++i)
            require(ids.data()[i] >= 0 && static_cast<std::size_t>(ids.data()[i]) < vocab(),
                    "a token id is outside the vocabulary");
        const nb::gil_scoped_release release;
        decoder.listed(row, ids.data(), ids.shape(0), logits.data());
    }

    void upper_bounds(std::size_t row, const OutFloatVector& bounds) {
        require(row < decoder.head().rows(), "the last step has no such row");
        require(bounds.shape(0) == vocab(), "bounds is not [vocab]");
        decoder.head().upper_bounds(row, bounds.data());
    }

    void start_profile() { decoder.profile().start(); }

    // Rows of name, calls, seconds, seconds that a thread waited (the mean over the threads), bytes read.
    std::vector<nb::tuple> stop_profile() {
        std::vector<nb::tuple> rows;
        const std::vector<PhaseTime> phases = decoder.profile().stop();
        const std::vector<const char*> names = Decoder::phase_names();
        for (std::size_t entry = 0; entry < phases.size(); ++entry) {
            const PhaseTime& phase = phases[entry];
            const double wall = std::chrono::duration<double>(phase.wall).count();
            const double idle = std::chrono::duration<double>(phase.available - phase.work).count();
            const double available = std::chrono::duration<double>(phase.available).count();
            rows.push_back(nb::make_tuple(names[entry], phase.calls, wall,
                                          available > 0 ? wall * idle / available : 0.0, phase.bytes));
        }
        return rows;
    }

    std::size_t vocab() const { return embedding.rows; }

    PyTable embedding, head;
    FloatVector norm;
    FloatMatrix cos, sin;
    std::vector<PyLayer> layers;
    Decoder decoder;
};

}  // namespace

void bind_decoder(nb::module_& m) {
    m.attr("MAX_CANDIDATES") = kMaxCandidates;

    nb::enum_<HiddenAct>(m, "HiddenAct").value("relu2", HiddenAct::relu2).value("silu", HiddenAct::silu);

    nb::class_<Shape>(m, "Shape")
        .def(
            "__init__",
            [](Shape* self, std::size_t vocab, std::size_t hidden, std::size_t intermediate, std::size_t heads,
               std::size_t kv_heads, std::size_t head_dim, float norm_eps, float input_norm_eps, HiddenAct act) {
                new (self) Shape{vocab, hidden,   intermediate, 0,  // Decoder counts the layers
                                 heads, kv_heads, head_dim,     norm_eps, input_norm_eps, act};
            },
            nb::kw_only(), "vocab"_a, "hidden"_a, "intermediate"_a, "heads"_a, "kv_heads"_a, "head_dim"_a, "norm_eps"_a,
            "input_norm_eps"_a, "act"_a);

    // Arrays are not converted: a copy would hide a wrong dtype, and results written to a copy would be lost.
    nb::class_<PyDecoder>(m, "Decoder")
        .def(nb::init<const Shape&, PyTable, std::vector<PyLayer>, FloatVector, PyTable, FloatMatrix, FloatMatrix,
                      std::size_t, std::size_t, const std::string&>(),
             nb::kw_only(), "shape"_a, "embedding"_a, "layers"_a, "norm"_a, "head"_a, "cos"_a, "sin"_a, "threads"_a,
             "thread_work"_a, "isa"_a)
        .def("replace_layer", &PyDecoder::replace_layer, "index"_a, "layer"_a)
        .def("allocate", &PyDecoder::allocate, "num_blocks"_a, "block_size"_a)
        .def("forward", &PyDecoder::forward, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
             "positions"_a.noconvert(), "block_tables"_a.noconvert(), "logit_rows"_a.noconvert(),
             "logits"_a.noconvert())
        .def("forward_candidates", &PyDecoder::forward_candidates, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
             "positions"_a.noconvert(), "block_tables"_a.noconvert(), "logit_rows"_a.noconvert(),
             "filter_counts"_a.noconvert(), "noises"_a.noconvert(), "noise_scales"_a.noconvert(), "masks"_a.noconvert(),
             "ids"_a.noconvert(), "logits"_a.noconvert(), "counts"_a.noconvert())
        .def("forward_layers", &PyDecoder::forward_layers, "token_ids"_a.noconvert(), "starts"_a.noconvert(),
             "positions"_a.noconvert(), "block_tables"_a.noconvert(), "logit_rows"_a.noconvert())
        .def("candidates", &PyDecoder::candidates, "filter_counts"_a.noconvert(), "noises"_a.noconvert(),
             "noise_scales"_a.noconvert(), "masks"_a.noconvert(), "ids"_a.noconvert(), "logits"_a.noconvert(),
             "counts"_a.noconvert())
        .def("upper_bounds", &PyDecoder::upper_bounds, "row"_a, "bounds"_a.noconvert())
        .def("listed", &PyDecoder::listed, "row"_a, "ids"_a.noconvert(), "logits"_a.noconvert())
        .def("whole_rows", &PyDecoder::whole_rows, "first"_a, "logits"_a.noconvert())
        .def("hidden", &PyDecoder::hidden, "states"_a.noconvert())
        .def_prop_ro("head_bytes_read", [](PyDecoder& self) { return self.decoder.head().bytes_read(); })
        .def_prop_ro("weight_bytes", [](PyDecoder& self) { return self.decoder.weight_bytes(); })
        .def_prop_ro("file_bytes", [](PyDecoder& self) { return self.decoder.file_bytes(); })
        .def_prop_ro("screen_bytes", [](PyDecoder& self) { return self.decoder.head().screen_bytes(); })
        .def_prop_ro("kv_cache_bytes", [](PyDecoder& self) { return self.decoder.kv_cache_bytes(); })
        .def_prop_ro("kv_bytes_per_position", [](PyDecoder& self) { return self.decoder.kv_bytes_per_position(); })
        .def_prop_ro("logits_computed", [](PyDecoder& self) { return self.decoder.head().computed(); })
        .def("start_profile", &PyDecoder::start_profile)
        .def("stop_profile", &PyDecoder::stop_profile)
        .def_prop_ro("threads", [](const PyDecoder& self) { return self.decoder.threads(); })
        .def_prop_ro("isa", [](const PyDecoder& self) { return self.decoder.kernels().name; });
}

}  // namespace bitnet
