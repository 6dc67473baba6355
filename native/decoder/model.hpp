// A model as the decoder sees it: sizes, and pointers to weights that the owner keeps alive.
#pragma once

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
    float input_norm_eps;  // of the norms that belong to a linear
    HiddenAct act;

    std::size_t query_features() const { return heads * head_dim; }
    std::size_t kv_features() const { return kv_heads * head_dim; }
    std::size_t group() const { return heads / kv_heads; }
    std::size_t head_stride() const { return round_up(head_dim, 16); }
};

// Norm gains are float32 and aligned; null where there is no such norm.
struct Linear {
    TernaryMatrix weight;
    const float* input_norm;
};

struct Layer {
    const float* input_layernorm;
    const float* post_attention_layernorm;
    const float* attn_sub_norm;
    const float* ffn_sub_norm;
    Linear q, k, v, o, gate, up, down;
};

struct Model {
    Shape shape;
    std::vector<Layer> layers;
    Bfloat16Table embedding;  // [vocab, hidden]
    Bfloat16Table head;       // the same
    const float* norm;
    const float* cos;  // [context, head_dim / 2]
    const float* sin;
    std::size_t context;
};

}  // namespace bitnet
