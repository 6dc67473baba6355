// The phases of a step: one table, then the functions that its entries call.
#include <algorithm>
#include <cmath>

#include "decoder/decoder.hpp"

namespace bitnet {

namespace {

// Linears that read the same activations are multiplied in one phase.
std::array<const Linear*, 3> query_key_value(const Layer& layer) { return {&layer.q, &layer.k, &layer.v}; }
std::array<const Linear*, 2> gate_up(const Layer& layer) { return {&layer.gate, &layer.up}; }
std::array<const Linear*, 1> only(const Linear& linear) { return {&linear}; }

// Work items of a product start at multiples of this many byte rows. For one token a fine grain balances the threads.
// For more tokens the grain is the row block of the kernels.
std::size_t row_grain(std::size_t tokens) { return tokens == 1 ? 4 : kBlockRows; }

// The largest number of work items that a product for one token has for each thread. Each work item restarts the
// hardware prefetcher, so more of them would slow down reading.
constexpr std::size_t kTokenItems = 8;

// Returns the index of the quantised input that linear `index` reads. Linears without a norm of their own share the
// input of the first such linear.
std::size_t owner_of_input(std::span<const Linear* const> linears, std::size_t index) {
    const auto without_norm = [](const Linear* linear) { return linear->input_norm == nullptr; };
    if (!without_norm(linears[index])) return index;
    return static_cast<std::size_t>(std::find_if(linears.begin(), linears.end(), without_norm) - linears.begin());
}

// Calls body(Range) for each run of neighbouring outputs that byte rows of a matrix have: one for each field, or one
// for all rows of the grouped form.
template <typename Body>
void for_each_run_of_outputs(const TernaryMatrix& weight, Range rows, Body body) {
    if (weight.form == TernaryForm::grouped)
        return body(Range{rows.begin * kBlockRows, std::min(rows.end * kBlockRows, weight.out)});
    for (std::size_t i = 0; i < fields_of(weight.form); ++i) {
        const std::size_t first = i * byte_rows(weight);
        const Range run{first + rows.begin, std::min(first + rows.end, weight.out)};
        if (run.begin < run.end) body(run);
    }
}

std::size_t bytes_of(std::span<const Linear* const> linears) {
    std::size_t bytes = 0;
    for (const Linear* linear : linears) bytes += matrix_bytes(linear->weight);
    return bytes;
}

}  // namespace

// In the order of a step. `d` is the decoder, `l` the layer or its index, `t` the thread.
const std::array<Decoder::Phase, Decoder::kPhases> Decoder::kPhaseTable = {{
    {.name = "embed",
     .share = [](const Decoder& d, const Layer&) { return d.share_by_token(d.shape_.hidden); },
     .bytes = [](const Decoder& d,
                 const Layer&) { return d.tokens_.size() * d.model_.embedding.bytes(d.shape_.vocab) / d.shape_.vocab; },
     .run = [](Decoder& d, std::size_t t, std::size_t, Range range) { d.embed(t, range); }},

    {.name = "quantize attention input",
     .share = [](const Decoder& d, const Layer&) { return d.share_by_token(4 * d.shape_.hidden); },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run =
         [](Decoder& d, std::size_t t, std::size_t l, Range range) {
             const Layer& layer = d.model_.layers[l];
             d.quantize_inputs(t, d.hidden_, layer.input_layernorm, query_key_value(layer), range);
         }},

    {.name = "query, key, value",
     .share = [](const Decoder& d, const Layer& l) { return d.share_product(query_key_value(l)); },
     .bytes = [](const Decoder&, const Layer& l) { return bytes_of(query_key_value(l)); },
     .run =
         [](Decoder& d, std::size_t, std::size_t l, Range range) {
             d.multiply(query_key_value(d.model_.layers[l]), {d.query_.data(), d.key_.data(), d.value_.data()}, range);
         }},

    {.name = "rotate",
     .share =
         [](const Decoder& d, const Layer&) {
             const std::size_t heads = d.tokens_.size() * (d.shape_.heads + d.shape_.kv_heads);
             return Share{heads, 1, heads * d.shape_.head_dim * 4};
         },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run = [](Decoder& d, std::size_t, std::size_t l, Range range) { d.rotate_and_store(l, range); }},

    {.name = "attend",
     .share = [](const Decoder& d, const Layer&) { return d.share_attention(); },
     .bytes = [](const Decoder& d, const Layer&) { return d.attention_bytes(); },
     .run = [](Decoder& d, std::size_t t, std::size_t l, Range range) { d.attend(t, l, range); }},

    {.name = "quantize attention",
     .share = [](const Decoder& d, const Layer&) { return d.share_by_token(4 * d.shape_.query_features()); },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run =
         [](Decoder& d, std::size_t t, std::size_t l, Range range) {
             const Layer& layer = d.model_.layers[l];
             d.quantize_inputs(t, d.attention_, layer.attn_sub_norm, only(layer.o), range);
         }},

    {.name = "output",
     .share = [](const Decoder& d, const Layer& l) { return d.share_product(only(l.o)); },
     .bytes = [](const Decoder&, const Layer& l) { return matrix_bytes(l.o.weight); },
     .run = [](Decoder& d, std::size_t, std::size_t l, Range range) { d.add_product(d.model_.layers[l].o, range); }},

    {.name = "quantize ffn input",
     .share = [](const Decoder& d, const Layer&) { return d.share_by_token(4 * d.shape_.hidden); },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run =
         [](Decoder& d, std::size_t t, std::size_t l, Range range) {
             const Layer& layer = d.model_.layers[l];
             d.quantize_inputs(t, d.hidden_, layer.post_attention_layernorm, gate_up(layer), range);
         }},

    {.name = "gate, up",
     .share =
         [](const Decoder& d, const Layer& l) {
             Share share = d.share_product(only(l.gate));  // one range of rows for both, as they have the same shape
             share.cost *= 2;
             return share;
         },
     .bytes = [](const Decoder&, const Layer& l) { return bytes_of(gate_up(l)); },
     .run = [](Decoder& d, std::size_t, std::size_t l, Range range) { d.multiply_gate_up(d.model_.layers[l], range); }},

    {.name = "quantize ffn",
     .share = [](const Decoder& d, const Layer&) { return d.share_by_token(4 * d.shape_.intermediate); },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run =
         [](Decoder& d, std::size_t t, std::size_t l, Range range) {
             const Layer& layer = d.model_.layers[l];
             d.quantize_inputs(t, d.ffn_, layer.ffn_sub_norm, only(layer.down), range);
         }},

    {.name = "down",
     .share = [](const Decoder& d, const Layer& l) { return d.share_product(only(l.down)); },
     .bytes = [](const Decoder&, const Layer& l) { return matrix_bytes(l.down.weight); },
     .run = [](Decoder& d, std::size_t, std::size_t l, Range range) { d.add_product(d.model_.layers[l].down, range); }},

    {.name = "final norm",
     .share =
         [](const Decoder& d, const Layer&) {
             const std::size_t rows = d.logit_rows_.size();
             return Share{rows, 1, rows * d.shape_.hidden * 2};
         },
     .bytes = [](const Decoder&, const Layer&) { return std::size_t{0}; },
     .run = [](Decoder& d, std::size_t, std::size_t, Range range) { d.norm_rows(range); }},
}};

Decoder::Share Decoder::share_by_token(std::size_t cost_per_token) const {
    return {tokens_.size(), 1, tokens_.size() * cost_per_token};
}

// The byte rows of several linears, one linear after the other. Each begins at a multiple of the grain, so that no work
// item has rows of two; `multiply` divides the rows again.
Decoder::Share Decoder::share_product(Linears linears) const {
    const std::size_t grain = row_grain(tokens_.size());
    std::size_t rows = 0;
    for (const Linear* linear : linears) rows = round_up(rows, grain) + byte_rows(linear->weight);
    Share share{rows, grain, product_cost(linears)};
    if (tokens_.size() == 1) share.max_items_per_thread = kTokenItems;
    return share;
}

// For few tokens the time goes into reading the weights, for many tokens into multiplying them: reading takes about as
// long as multiplying for eight tokens.
std::size_t Decoder::product_cost(Linears linears) const { return bytes_of(linears) * (tokens_.size() + 7) / 8; }

// Keys and values of every position that the chunk's tokens attend to, once for each token: 2 * 4 bytes a feature.
std::size_t Decoder::attention_bytes() const {
    return contexts_before_[tokens_.size()] * shape_.kv_heads * shape_.head_stride() * 8;
}

// Divides the queries, which are numbered as `attend` says.
Decoder::Share Decoder::share_attention() const {
    const std::size_t tokens = tokens_.size(), group = shape_.group(), bytes = attention_bytes();
    // For one token a work item may be half of a group, because the number of threads may not divide the number of KV
    // heads. There is at most one work item for each thread.
    if (tokens == 1 && group % 2 == 0) return {shape_.heads, group / 2, bytes, 1};
    // A tile of queries shares one read of the keys and values. Work items of half a tile balance the threads.
    const std::size_t grain = group * std::max<std::size_t>(1, kQueryTile / 2 / group);
    return {shape_.heads * tokens, grain, bytes * (group + 3) / 4};
}

void Decoder::embed(std::size_t thread, Range tokens) {
    for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
        const std::size_t id = static_cast<std::size_t>(tokens_[t].id);
        float* out = hidden_.data() + t * shape_.hidden;
        if (model_.embedding.is_ternary()) {
            kernels_.widen_grouped(model_.embedding.ternary, id, out);
        } else {
            kernels_.widen(model_.embedding.floats.read(id, 1, workers_[thread].row.data()), shape_.hidden, out);
        }
    }
}

// Quantises rows of `source` [tokens, features] for linears that read them, and multiplies them by the A of adapters:
// first `norm`, the layer's (null for none), then the norm of each linear that has one. Each such linear has an input
// of its own in inputs_; the others share one. The linears are all in the grouped form, with one size of groups, or
// none is.
void Decoder::quantize_inputs(std::size_t thread, const Buffer<float>& source, const float* norm, Linears linears,
                              Range tokens) {
    const TernaryMatrix& weight = linears[0]->weight;
    const std::size_t features = weight.in, stride = round_up(features, 64), scales = scales_of(weight);
    Worker& worker = workers_[thread];
    for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
        const float* x = source.data() + t * features;
        if (norm != nullptr) {
            kernels_.rmsnorm(x, norm, shape_.norm_eps, features, worker.normed.data());
            x = worker.normed.data();
        }
        for (std::size_t i = 0; i < linears.size(); ++i) {
            if (linears[i]->adapter.rank > 0)
                kernels_.low_rank(linears[i]->adapter, x, inputs_.low_rank[i].data() + t * largest_rank_);
            if (owner_of_input(linears, i) != i) continue;
            const float* input_norm = linears[i]->input_norm;
            const float* y = x;
            if (input_norm != nullptr) {
                kernels_.rmsnorm(x, input_norm, shape_.input_norm_eps, features, worker.input_normed.data());
                y = worker.input_normed.data();
            }
            std::int8_t* values = inputs_.values[i].data() + t * stride;
            float* scale = inputs_.scales[i].data() + t * scales;
            std::int32_t* sum = inputs_.sums[i].data() + t * scales;
            if (weight.form == TernaryForm::grouped) {
                kernels_.quantize_groups(y, features, weight.group, values, scale, sum);
            } else {
                kernels_.quantize(y, features, values, scale, sum);
            }
        }
    }
}

// Returns the quantised input of linears[index], as quantize_inputs wrote it.
Activations Decoder::input_of(Linears linears, std::size_t index) const {
    const std::size_t i = owner_of_input(linears, index), stride = round_up(linears[0]->weight.in, 64);
    return {inputs_.values[i].data(), stride, inputs_.scales[i].data(), inputs_.sums[i].data(), tokens_.size()};
}

// Computes byte rows of several linears that share_product laid out one after the other: the part of `rows` that lies
// within each linear goes to its output.
void Decoder::multiply(Linears linears, std::initializer_list<float*> outputs, Range rows) {
    const std::size_t grain = row_grain(tokens_.size());
    std::size_t offset = 0;  // of the linear's first byte row
    for (std::size_t i = 0; i < linears.size(); ++i) {
        const TernaryMatrix& weight = linears[i]->weight;
        const std::size_t begin = std::max(rows.begin, offset) - offset;
        const std::size_t end = std::min(std::max(rows.end, offset) - offset, byte_rows(weight));
        if (begin < end) {
            kernels_.linear(weight, input_of(linears, i), begin, end, outputs.begin()[i], weight.out);
            adapt(linears, i, {begin, end}, outputs.begin()[i]);
        }
        offset += round_up(byte_rows(weight), grain);
    }
}

void Decoder::multiply_gate_up(const Layer& layer, Range rows) {
    const std::array<const Linear*, 2> linears = gate_up(layer);
    if (layer.gate.adapter.rank == 0 && layer.up.adapter.rank == 0)
        return kernels_.gate_up(layer.gate.weight, input_of(linears, 0), layer.up.weight, input_of(linears, 1),
                                shape_.act, rows.begin, rows.end, ffn_.data(), shape_.intermediate);
    // The gate is complete only with its adapter, so it cannot be activated within the product.
    float* outputs[] = {ffn_.data(), up_.data()};
    for (std::size_t i = 0; i < linears.size(); ++i) {
        kernels_.linear(linears[i]->weight, input_of(linears, i), rows.begin, rows.end, outputs[i],
                        shape_.intermediate);
        adapt(linears, i, rows, outputs[i]);
    }
    for_each_run_of_outputs(layer.gate.weight, rows, [&](Range run) {
        for (std::size_t t = 0; t < tokens_.size(); ++t) {
            const std::size_t start = t * shape_.intermediate + run.begin;
            kernels_.gate(up_.data() + start, shape_.act, run.end - run.begin, ffn_.data() + start);
        }
    });
}

// Adds the adapter's part to the outputs [tokens, out] of linears[index] that byte rows have: from the products with A
// that quantize_inputs wrote.
void Decoder::adapt(Linears linears, std::size_t index, Range rows, float* out) {
    const Adapter& adapter = linears[index]->adapter;
    if (adapter.rank == 0) return;
    for_each_run_of_outputs(linears[index]->weight, rows, [&](Range run) {
        for (std::size_t t = 0; t < tokens_.size(); ++t)
            kernels_.add_low_rank(adapter, inputs_.low_rank[index].data() + t * largest_rank_, run.begin, run.end,
                                  out + t * adapter.out);
    });
}

// hidden += linear(input): the residual connection.
void Decoder::add_product(const Linear& linear, Range rows) {
    kernels_.linear_add(linear.weight, input_of(only(linear), 0), rows.begin, rows.end, hidden_.data(), shape_.hidden);
    adapt(only(linear), 0, rows, hidden_.data());
}

// Rotates queries (RoPE), and writes rotated keys and plain values to the cache; heads are first normed where they lie,
// if the layer has norms for them. Items are numbered [token][query heads, then KV heads].
void Decoder::rotate_and_store(std::size_t layer, Range items) {
    const std::size_t heads = shape_.heads + shape_.kv_heads, head_dim = shape_.head_dim, half = head_dim / 2;
    const Layer& weights = model_.layers[layer];
    const auto norm_head = [&](float* x, const float* gain) {
        if (gain != nullptr) kernels_.rmsnorm(x, gain, shape_.norm_eps, head_dim, x);
    };
    for (std::size_t item = items.begin; item < items.end; ++item) {
        const std::size_t t = item / heads, head = item % heads;
        const Token& token = tokens_[t];
        const float* cos = model_.cos + token.position * half;
        const float* sin = model_.sin + token.position * half;
        if (head < shape_.heads) {
            const std::size_t row = t * shape_.heads + head;
            norm_head(query_.data() + row * head_dim, weights.q_norm);
            kernels_.rope(query_.data() + row * head_dim, cos, sin, half, rotated_.data() + row * shape_.head_stride());
            continue;
        }
        const std::size_t kv_head = head - shape_.heads;
        const std::size_t source = (t * shape_.kv_heads + kv_head) * head_dim;
        const std::size_t target = cache_.offset(token.blocks, token.position);
        norm_head(key_.data() + source, weights.k_norm);
        kernels_.rope(key_.data() + source, cos, sin, half, cache_.keys(layer, kv_head) + target);
        std::copy_n(value_.data() + source, head_dim, cache_.values(layer, kv_head) + target);
    }
}

// Queries are numbered [KV head][token][query head of the group], so that neighbours read the same keys and values. The
// loop cuts the range into tiles: up to kQueryTile neighbours that read one KV head of one sequence. A tile that holds
// queries of several tokens uses the block table of any of them, because they belong to the same sequence.
void Decoder::attend(std::size_t thread, std::size_t layer, Range queries) {
    Worker& worker = workers_[thread];
    AttentionTile tile{};
    tile.layout = cache_.layout();
    tile.head_dim = shape_.head_dim;
    tile.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
    tile.scores = worker.scores.data();
    tile.scores_stride = round_up(model_.context, 16);
    tile.sums = worker.sums.data();

    const std::size_t tokens = tokens_.size(), group = shape_.group(), end = queries.end;
    std::size_t item = queries.begin;
    while (item < end) {
        const std::size_t kv_head = item / group / tokens, sequence = tokens_[item / group % tokens].sequence;
        for (tile.count = 0; item < end && tile.count < kQueryTile; ++item, ++tile.count) {
            const std::size_t t = item / group % tokens, head = kv_head * group + item % group;
            if (item / group / tokens != kv_head || tokens_[t].sequence != sequence) break;
            tile.blocks = tokens_[t].blocks;
            tile.contexts[tile.count] = tokens_[t].position + 1;
            const std::size_t row = t * shape_.heads + head;
            tile.queries[tile.count] = rotated_.data() + row * tile.layout.head_stride;
            tile.outputs[tile.count] = attention_.data() + row * tile.head_dim;
        }
        tile.keys = cache_.keys(layer, kv_head);
        tile.values = cache_.values(layer, kv_head);
        kernels_.attend(tile);
    }
}

// The final norm, of the tokens whose logits are computed.
void Decoder::norm_rows(Range rows) {
    const std::size_t hidden = shape_.hidden;
    for (std::size_t r = rows.begin; r < rows.end; ++r)
        kernels_.rmsnorm(hidden_.data() + logit_rows_[r] * hidden, model_.norm, shape_.norm_eps, hidden,
                         normed_rows_ + r * hidden);
}

}  // namespace bitnet
