// Weights as Python hands them over: each struct holds the arrays that its native counterpart points into.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "decoder/model.hpp"
#include "python/arrays.hpp"

namespace bitnet {

struct PyLinear {
    // `packed` is in the stored form. If `dense` is given, it is in the dense form, of a matrix [out, in] of that
    // shape.
    PyLinear(ByteMatrix packed, float scale, std::optional<FloatVector> input_norm,
             std::optional<std::pair<std::size_t, std::size_t>> dense);
    // `packed` is in the grouped form, of a matrix [out, in] with one scale for each `group` columns of a row.
    PyLinear(ByteMatrix packed, std::size_t out, std::size_t in, std::size_t group,
             std::optional<FloatVector> input_norm);

    // Sets the adapter; `b` is [rank, out].
    void adapt(FloatMatrix a, FloatMatrix b, float scaling);

    ByteMatrix packed;
    std::optional<FloatVector> input_norm;
    std::optional<std::pair<FloatMatrix, FloatMatrix>> adapter;
    Linear linear;

  private:
    void set_input_norm();
};

struct PyLayer {
    std::vector<FloatVector> norms;  // input_layernorm, post_attention_layernorm, then the other norms that exist
    std::vector<PyLinear> linears;   // in the order of kLinears
    Layer layer;
};

struct PyTable {
    // Rows of bfloat16. `file` is the descriptor of the mapped file that they lie in at `offset`, or -1.
    PyTable(ByteMatrix bytes, int file, std::uint64_t offset);
    // Ternary rows in the grouped form.
    explicit PyTable(const PyLinear& grouped);

    ByteMatrix bytes;
    TokenTable table;
    std::size_t rows, columns;
};

// All raise ValueError. The Python code reports mistakes of users before; these checks only keep native code within
// its arrays.
void check_layer(const PyLayer& layer, const Shape& shape);
void check_form(const Kernels& kernels, const TernaryMatrix& weight);
void check_forms(const Kernels& kernels, const PyLayer& layer);  // of all its linears

}  // namespace bitnet
