// A model as the decoder sees it: sizes, and pointers to weights. Nothing here owns memory: whoever makes a Model keeps
// its arrays alive for as long as a Decoder uses it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"
#include "runtime/memory.hpp"
#include "weights/bfloat16_table.hpp"

namespace bitnet {

struct Shape {
    std::size_t vocab, hidden, intermediate, layers, heads, kv_heads, head_dim;
    float norm_eps;
    float input_norm_eps;  // for the norms that belong to a linear
    HiddenAct act;

    std::size_t hidden_features() const { return hidden; }
    std::size_t intermediate_features() const { return intermediate; }
    std::size_t query_features() const { return heads * head_dim; }
    std::size_t kv_features() const { return kv_heads * head_dim; }
    // Query heads that share one KV head.
    std::size_t group() const { return heads / kv_heads; }
    // Floats between neighbouring head vectors: head_dim rounded up to whole vectors of 16 floats.
    std::size_t head_stride() const { return round_up(head_dim, 16); }
};

inline std::size_t matrix_bytes(const TernaryMatrix& matrix) { return byte_rows(matrix) * row_bytes(matrix); }

// How many scales the activations of one token have as the input of this matrix.
inline std::size_t scales_of(const TernaryMatrix& matrix) {
    return matrix.form == TernaryForm::grouped ? matrix.in / matrix.group : 1;
}

// Norm gains are float32 and aligned to 4 bytes. A null pointer means that the model has no such norm.
struct Linear {
    TernaryMatrix weight;
    const float* input_norm;  // [weight.in]
    Adapter adapter{};        // of the input before input_norm
};

struct Layer {
    const float* input_layernorm;           // [hidden]
    const float* post_attention_layernorm;  // [hidden]
    const float* attn_sub_norm;             // [query_features]
    const float* ffn_sub_norm;              // [intermediate]
    const float* q_norm;                    // [head_dim]: of each head, before rotary positions
    const float* k_norm;                    // [head_dim]
    Linear q, k, v, o, gate, up, down;
};

// One of the seven linears of a layer: its name in checkpoints, its place in Layer, and its width as a function of the
// model's shape.
struct LinearField {
    const char* name;
    Linear Layer::* member;
    std::size_t (Shape::*out_features)() const;
    std::size_t (Shape::*in_features)() const;
};

// All of them, in the order of bitnet_tt.config.LINEAR_NAMES.
inline constexpr std::array<LinearField, 7> kLinears = {{
    {"q_proj", &Layer::q, &Shape::query_features, &Shape::hidden_features},
    {"k_proj", &Layer::k, &Shape::kv_features, &Shape::hidden_features},
    {"v_proj", &Layer::v, &Shape::kv_features, &Shape::hidden_features},
    {"o_proj", &Layer::o, &Shape::hidden_features, &Shape::query_features},
    {"gate_proj", &Layer::gate, &Shape::intermediate_features, &Shape::hidden_features},
    {"up_proj", &Layer::up, &Shape::intermediate_features, &Shape::hidden_features},
    {"down_proj", &Layer::down, &Shape::hidden_features, &Shape::intermediate_features},
}};

// A table with a row for each token: the embedding or the lm_head. It is in bfloat16, or ternary in the grouped form.
struct TokenTable {
    Bfloat16Table floats;
    TernaryMatrix ternary{};  // packed is null for a table in bfloat16

    bool is_ternary() const { return ternary.packed != nullptr; }
    bool in_file() const { return !is_ternary() && floats.in_file(); }
    const std::uint8_t* data() const { return is_ternary() ? ternary.packed : floats.data; }
    std::size_t bytes(std::size_t rows) const {
        return is_ternary() ? matrix_bytes(ternary) : rows * floats.row_bytes();
    }
};

struct Model {
    Shape shape;
    std::vector<Layer> layers;  // shape.layers of them
    TokenTable embedding;       // [vocab, hidden]
    TokenTable head;            // [vocab, hidden]; the same data as `embedding` if they are tied
    const float* norm;          // [hidden]: the gain of the final norm
    const float* cos;           // [context, head_dim / 2]: the rotary tables
    const float* sin;           // [context, head_dim / 2]
    std::size_t context;        // the longest sequence, in tokens
};

}  // namespace bitnet
