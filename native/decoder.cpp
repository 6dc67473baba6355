#include "decoder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bitnet {

namespace {

// Byte rows a thread's share of a ternary product is a multiple of. A few tokens: finer, for balance. Many: whole
// blocks of the kernels.
std::size_t row_grain(std::size_t tokens) { return tokens == 1 ? 4 : 16; }

bool has_input_norms(const Layer& layer) {
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
        if (linear->input_norm != nullptr) return true;
    return false;
}

}  // namespace

void Decoder::Inputs::grow(std::size_t inputs, std::size_t tokens, std::size_t stride) {
    for (std::size_t i = 0; i < inputs; ++i) {
        values[i].grow(tokens * stride);
        scales[i].grow(tokens);
        sums[i].grow(tokens);
    }
}

Decoder::Decoder(Model model, const Kernels& kernels, std::size_t threads)
    : model_(std::move(model)),
      kernels_(kernels),
      team_(threads),
      separate_inputs_(std::any_of(model_.layers.begin(), model_.layers.end(), has_input_norms)),
      workers_(threads) {
    const std::size_t widest = std::max({shape_.hidden, shape_.intermediate, shape_.query_features()});
    for (Worker& worker : workers_) {
        worker.inputs.grow(separate_inputs_ ? kInputs : 1, 1, round_up(widest, 64));
        worker.normed.grow(widest);
        worker.normed_again.grow(widest);
        worker.scores.grow(kQueryTile * round_up(model_.context, 16));
        worker.sums.grow(kQueryTile * shape_.head_stride());
    }
    tokens_.reserve(kChunk);
    work_.reserve(kChunk + 1);
    logit_rows_.reserve(kChunk);
}

void Decoder::allocate(std::size_t blocks, std::size_t block_size) {
    cache_ = KVCache();  // first, or both would be held for a moment
    cache_ = KVCache(shape_, blocks, block_size);
}

void Decoder::forward(const Batch& batch, float* logits) {
    check(batch, model_, cache_);
    next_row_ = next_sequence_ = 0;
    for (std::size_t begin = 0; begin < batch.tokens; begin += kChunk) {
        prepare(batch, begin, std::min(batch.tokens, begin + kChunk), logits);
        grow_scratch(tokens_.size(), logit_rows_.size());
        team_.run([this](std::size_t thread) { run_chunk(thread); });
    }
}

void Decoder::prepare(const Batch& batch, std::size_t begin, std::size_t end, float* logits) {
    tokens_.clear();
    logit_rows_.clear();
    work_.assign(1, 0);
    logits_ = logits + next_row_ * shape_.vocab;
    for (std::size_t t = begin; t < end; ++t) {
        while (static_cast<std::size_t>(batch.starts[next_sequence_ + 1]) <= t) ++next_sequence_;
        const std::size_t offset = t - static_cast<std::size_t>(batch.starts[next_sequence_]);
        const std::size_t position = static_cast<std::size_t>(batch.positions[next_sequence_]) + offset;
        tokens_.push_back(
            {batch.token_ids[t], position, next_sequence_, batch.block_tables + next_sequence_ * batch.table_width});
        work_.push_back(work_.back() + position + 1);
        if (next_row_ < batch.rows && static_cast<std::size_t>(batch.logit_rows[next_row_]) == t) {
            logit_rows_.push_back(t - begin);
            ++next_row_;
        }
    }
}

void Decoder::grow_scratch(std::size_t tokens, std::size_t rows) {
    if (tokens > token_capacity_) {
        token_capacity_ = 0;  // until all have grown: running out of memory here must not leave a lie
        const std::size_t widest = std::max({shape_.hidden, shape_.intermediate, shape_.query_features()});
        inputs_.grow(separate_inputs_ ? kInputs : 1, tokens, round_up(widest, 64));
        hidden_.grow(tokens * shape_.hidden);
        query_.grow(tokens * shape_.query_features());
        key_.grow(tokens * shape_.kv_features());
        value_.grow(tokens * shape_.kv_features());
        rotated_.grow(tokens * shape_.heads * shape_.head_stride());
        attention_.grow(tokens * shape_.query_features());
        ffn_.grow(tokens * shape_.intermediate);
        token_capacity_ = tokens;
    }
    normed_rows_.grow(rows * shape_.hidden);
}

void Decoder::run_chunk(std::size_t thread) {
    const Range mine = part(tokens_.size(), 1, thread, team_.size());
    for (std::size_t t = mine.begin; t < mine.end; ++t) {
        const std::size_t id = static_cast<std::size_t>(tokens_[t].id);
        kernels_.widen(model_.embedding + 2 * id * shape_.hidden, shape_.hidden, hidden_.data() + t * shape_.hidden);
    }
    team_.barrier();
    for (std::size_t layer = 0; layer < model_.layers.size(); ++layer) run_layer(thread, layer);
    if (!logit_rows_.empty()) write_logits(thread);
}

void Decoder::run_layer(std::size_t thread, std::size_t index) {
    const Layer& layer = model_.layers[index];
    const std::size_t tokens = tokens_.size();
    Activations inputs[kInputs];

    quantize_inputs(thread, hidden_, shape_.hidden, layer.input_layernorm, {&layer.q, &layer.k, &layer.v}, inputs);
    multiply(thread, {&layer.q, &layer.k, &layer.v}, inputs, {query_.data(), key_.data(), value_.data()});
    team_.barrier();
    rotate_and_store(thread, index);
    team_.barrier();
    attend(thread, index);
    team_.barrier();

    quantize_inputs(thread, attention_, shape_.query_features(), layer.attn_sub_norm, {&layer.o}, inputs);
    Range rows = part(layer.o.weight.quarter, row_grain(tokens), thread, team_.size());
    kernels_.linear_add(layer.o.weight, inputs[0], rows.begin, rows.end, hidden_.data(), shape_.hidden);
    team_.barrier();

    quantize_inputs(thread, hidden_, shape_.hidden, layer.post_attention_layernorm, {&layer.gate, &layer.up}, inputs);
    rows = part(layer.gate.weight.quarter, row_grain(tokens), thread, team_.size());
    kernels_.gate_up(layer.gate.weight, inputs[0], layer.up.weight, inputs[1], shape_.act, rows.begin, rows.end,
                     ffn_.data(), shape_.intermediate);
    team_.barrier();

    quantize_inputs(thread, ffn_, shape_.intermediate, layer.ffn_sub_norm, {&layer.down}, inputs);
    rows = part(layer.down.weight.quarter, row_grain(tokens), thread, team_.size());
    kernels_.linear_add(layer.down.weight, inputs[0], rows.begin, rows.end, hidden_.data(), shape_.hidden);
    team_.barrier();
}

// Normalises and quantises the rows of `source`; inputs[i] is what linears[i] reads, often the same for all. A lone
// token is done by every thread for itself: that costs less than a barrier and leaves the values in its own cache.
void Decoder::quantize_inputs(std::size_t thread, const Buffer<float>& source, std::size_t features, const float* norm,
                              std::initializer_list<const Linear*> linears, Activations* inputs) {
    const std::size_t tokens = tokens_.size(), stride = round_up(features, 64);
    const bool alone = tokens == 1;
    Worker& worker = workers_[thread];
    Inputs& target = alone ? worker.inputs : inputs_;
    std::size_t owner[kInputs] = {};  // whose quantised input linear i reads
    for (std::size_t i = 0; i < linears.size(); ++i) {
        const auto without_norm = [](const Linear* linear) { return linear->input_norm == nullptr; };
        const auto first = std::find_if(linears.begin(), linears.end(), without_norm);
        owner[i] = linears.begin()[i]->input_norm != nullptr ? i : static_cast<std::size_t>(first - linears.begin());
        inputs[i] = {target.values[owner[i]].data(), stride, target.scales[owner[i]].data(),
                     target.sums[owner[i]].data(), tokens};
    }
    const Range mine = alone ? Range{0, 1} : part(tokens, 1, thread, team_.size());
    for (std::size_t t = mine.begin; t < mine.end; ++t) {
        const float* x = source.data() + t * features;
        if (norm != nullptr) {
            kernels_.rmsnorm(x, norm, shape_.norm_eps, features, worker.normed.data());
            x = worker.normed.data();
        }
        for (std::size_t i = 0; i < linears.size(); ++i) {
            if (owner[i] != i) continue;
            const float* input_norm = linears.begin()[i]->input_norm;
            const float* y = x;
            if (input_norm != nullptr) {
                kernels_.rmsnorm(x, input_norm, shape_.input_norm_eps, features, worker.normed_again.data());
                y = worker.normed_again.data();
            }
            kernels_.quantize(y, features, target.values[i].data() + t * stride, target.scales[i].data() + t,
                              target.sums[i].data() + t);
        }
    }
    if (!alone) team_.barrier();
}

// Several linears as one: the rows of all of them are shared out together.
void Decoder::multiply(std::size_t thread, std::initializer_list<const Linear*> linears, const Activations* inputs,
                       std::initializer_list<float*> outputs) {
    const std::size_t grain = row_grain(tokens_.size());
    std::size_t total = 0;
    for (const Linear* linear : linears) total += round_up(linear->weight.quarter, grain);
    const Range mine = part(total, grain, thread, team_.size());
    std::size_t offset = 0;
    for (std::size_t i = 0; i < linears.size(); ++i) {
        const TernaryMatrix& weight = linears.begin()[i]->weight;
        const std::size_t begin = std::max(mine.begin, offset) - offset;
        const std::size_t end = std::min(std::max(mine.end, offset) - offset, weight.quarter);
        if (begin < end) kernels_.linear(weight, inputs[i], begin, end, outputs.begin()[i], 4 * weight.quarter);
        offset += round_up(weight.quarter, grain);
    }
}

// Rotates queries, and writes rotated keys and plain values to the cache.
void Decoder::rotate_and_store(std::size_t thread, std::size_t layer) {
    const std::size_t heads = shape_.heads + shape_.kv_heads, head_dim = shape_.head_dim, half = head_dim / 2;
    const Range mine = part(tokens_.size() * heads, 1, thread, team_.size());
    for (std::size_t item = mine.begin; item < mine.end; ++item) {
        const std::size_t t = item / heads, head = item % heads;
        const Token& token = tokens_[t];
        const float* cos = model_.cos + token.position * half;
        const float* sin = model_.sin + token.position * half;
        if (head < shape_.heads) {
            const std::size_t row = t * shape_.heads + head;
            kernels_.rope(query_.data() + row * head_dim, cos, sin, half, rotated_.data() + row * shape_.head_stride());
            continue;
        }
        const std::size_t kv_head = head - shape_.heads;
        const std::size_t source = (t * shape_.kv_heads + kv_head) * head_dim;
        const std::size_t target = cache_.offset(token.blocks, token.position);
        kernels_.rope(key_.data() + source, cos, sin, half, cache_.keys(layer, kv_head) + target);
        std::copy_n(value_.data() + source, head_dim, cache_.values(layer, kv_head) + target);
    }
}

// Queries in the order [kv head][token][query of the group], so that a thread's share reads few key/value heads.
// Returns the first one of a thread's share, with equal attention work for all threads.
std::size_t Decoder::first_query(std::size_t thread) const {
    const std::size_t tokens = tokens_.size(), group = shape_.group(), head_work = work_[tokens] * group;
    const std::size_t target = head_work * shape_.kv_heads * thread / team_.size();
    const std::size_t head = target / head_work, left = target % head_work;
    const auto after = std::upper_bound(work_.begin(), work_.end(), left / group);
    const std::size_t t = static_cast<std::size_t>(after - work_.begin()) - 1;
    if (head == shape_.kv_heads) return head * tokens * group;
    // A lone token's group is divided too; otherwise groups stay whole, as they fill tiles of equal contexts.
    const std::size_t query = tokens == 1 ? left / work_[1] : 0;
    return (head * tokens + t) * group + query;
}

void Decoder::attend(std::size_t thread, std::size_t layer) {
    Worker& worker = workers_[thread];
    AttentionTile tile{};
    tile.block_size = cache_.block_size();
    tile.block_stride = cache_.block_stride();
    tile.head_dim = shape_.head_dim;
    tile.head_stride = shape_.head_stride();
    tile.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
    tile.scores = worker.scores.data();
    tile.scores_stride = round_up(model_.context, 16);
    tile.sums = worker.sums.data();

    const std::size_t tokens = tokens_.size(), group = shape_.group(), end = first_query(thread + 1);
    std::size_t item = first_query(thread);
    while (item < end) {
        const std::size_t kv_head = item / group / tokens, sequence = tokens_[item / group % tokens].sequence;
        for (tile.count = 0; item < end && tile.count < kQueryTile; ++item, ++tile.count) {
            const std::size_t t = item / group % tokens, head = kv_head * group + item % group;
            if (item / group / tokens != kv_head || tokens_[t].sequence != sequence) break;
            tile.blocks = tokens_[t].blocks;
            tile.contexts[tile.count] = tokens_[t].position + 1;
            const std::size_t row = t * shape_.heads + head;
            tile.queries[tile.count] = rotated_.data() + row * tile.head_stride;
            tile.outputs[tile.count] = attention_.data() + row * tile.head_dim;
        }
        tile.keys = cache_.keys(layer, kv_head);
        tile.values = cache_.values(layer, kv_head);
        kernels_.attend(tile);
    }
}

void Decoder::write_logits(std::size_t thread) {
    const std::size_t rows = logit_rows_.size(), hidden = shape_.hidden;
    const Range mine = part(rows, 1, thread, team_.size());
    for (std::size_t r = mine.begin; r < mine.end; ++r)
        kernels_.rmsnorm(hidden_.data() + logit_rows_[r] * hidden, model_.norm, shape_.norm_eps, hidden,
                         normed_rows_.data() + r * hidden);
    team_.barrier();
    const Range vocab = part(shape_.vocab, 4, thread, team_.size());
    kernels_.logits(model_.head, hidden, vocab.begin, vocab.end, normed_rows_.data(), hidden, rows, logits_,
                    shape_.vocab);
}

}  // namespace bitnet
