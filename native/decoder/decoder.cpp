#include "decoder/decoder.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace bitnet {

namespace {

// Byte rows a thread's share of a ternary product is a multiple of. A few tokens: finer, for balance. Many: whole
// blocks of the kernels.
std::size_t row_grain(std::size_t tokens) { return tokens == 1 ? 4 : 16; }

// Items that a product for a single token has for each thread: with every one memory has to start anew.
constexpr std::size_t kTokenItems = 8;

bool has_input_norms(const Layer& layer) {
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
        if (linear->input_norm != nullptr) return true;
    return false;
}

bool tied(const Model& model) { return model.embedding.data == model.head.data; }

// Which of the linears' quantised inputs linear `index` reads: linears without norms of their own share one.
std::size_t owner_of_input(std::initializer_list<const Linear*> linears, std::size_t index) {
    const auto without_norm = [](const Linear* linear) { return linear->input_norm == nullptr; };
    if (!without_norm(linears.begin()[index])) return index;
    const auto first = std::find_if(linears.begin(), linears.end(), without_norm);
    return static_cast<std::size_t>(first - linears.begin());
}

}  // namespace

void Decoder::Inputs::grow(std::size_t inputs, std::size_t tokens, std::size_t stride) {
    for (std::size_t i = 0; i < inputs; ++i) {
        values[i].grow(tokens * stride);
        scales[i].grow(tokens);
        sums[i].grow(tokens);
    }
}

Decoder::Decoder(Model model, const Kernels& kernels, std::size_t threads, std::size_t thread_work)
    : model_(std::move(model)),
      kernels_(kernels),
      thread_work_(std::max<std::size_t>(thread_work, 1)),
      team_(threads),
      profile_(phase_names().size(), threads),
      head_(model_, kernels, team_, thread_work_, profile_),
      separate_inputs_(std::any_of(model_.layers.begin(), model_.layers.end(), has_input_norms)),
      workers_(threads) {
    const std::size_t widest = std::max({shape_.hidden, shape_.intermediate, shape_.query_features()});
    for (Worker& worker : workers_) {
        worker.row.grow(model_.embedding.row_bytes());
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
    run_layers(batch);
    profile_.open(kHead, team_.size());
    head_.logits(0, batch.rows, logits);
    profile_.close(batch.rows > 0 ? 2 * shape_.vocab * shape_.hidden : 0);
}

void Decoder::forward_greatest(const Batch& batch, const Cut* cuts, const Head::Passed& passed) {
    run_layers(batch);
    profile_.open(kHead, team_.size());
    head_.greatest(cuts, passed);
    profile_.close(head_.bytes_read());
}

void Decoder::run_layers(const Batch& batch) {
    check(batch, model_, cache_);
    next_row_ = next_sequence_ = 0;
    float* rows = head_.start(batch.rows);
    for (std::size_t begin = 0; begin < batch.tokens; begin += kChunk) {
        normed_rows_ = rows + next_row_ * shape_.hidden;
        prepare(batch, begin, std::min(batch.tokens, begin + kChunk));
        grow_scratch(tokens_.size());
        active_ = active_threads();
        const std::size_t phases = 1 + model_.layers.size() * kLayerPhases + 1;
        team_.run(*this, phases, active_);
        if (profile_.on()) profile_.close(bytes_read(phases - 1));
    }
}

void Decoder::prepare(const Batch& batch, std::size_t begin, std::size_t end) {
    tokens_.clear();
    logit_rows_.clear();
    work_.assign(1, 0);
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

void Decoder::grow_scratch(std::size_t tokens) {
    if (tokens <= token_capacity_) return;
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

// Little work on many threads is slower than on few, by far where other processes want the processors too.
std::size_t Decoder::active_threads() const {
    std::size_t cost = 0;
    for (const Layer& layer : model_.layers)
        cost += product_cost({&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down});
    const std::size_t worth = cost / model_.layers.size() / thread_work_;
    return std::min(std::max<std::size_t>(worth, 1), team_.size());
}

std::size_t Decoder::weight_bytes() const {
    std::size_t bytes = 0;
    for (const Layer& layer : model_.layers)
        for (const Linear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
            bytes += byte_rows(linear->weight) * row_bytes(linear->weight);
    const std::size_t table = shape_.vocab * model_.head.row_bytes();
    return bytes + (tied(model_) ? table : 2 * table);
}

std::size_t Decoder::file_bytes() const {
    const std::size_t table = shape_.vocab * model_.head.row_bytes();
    const bool head = model_.head.in_file() && !head_.touched();
    const bool embedding = model_.embedding.in_file() && !tied(model_);
    return table * (std::size_t{head} + std::size_t{embedding});
}

const std::vector<const char*>& Decoder::phase_names() {
    static const std::vector<const char*> names = {
        "embed",  "quantize attention input", "query, key, value", "rotate",       "attend", "quantize attention",
        "output", "quantize ffn input",       "gate, up",          "quantize ffn", "down",   "final norm",
        "head"};
    return names;
}

std::size_t Decoder::kind_of(std::size_t phase) const {
    const std::size_t layers = model_.layers.size() * kLayerPhases;
    if (phase == 0) return 0;
    return phase <= layers ? 1 + (phase - 1) % kLayerPhases : kLayerPhases + 1;
}

// Weights once a chunk, keys and values once a token and head that reads them.
std::size_t Decoder::bytes_read(std::size_t phase) const {
    const std::size_t kind = kind_of(phase);
    if (kind == 0) return 2 * tokens_.size() * shape_.hidden;
    if (kind > kLayerPhases) return 0;
    const Layer& layer = model_.layers[(phase - 1) / kLayerPhases];
    const auto bytes = [](Linears linears) {
        std::size_t total = 0;
        for (const Linear* linear : linears) total += byte_rows(linear->weight) * row_bytes(linear->weight);
        return total;
    };
    switch (static_cast<LayerPhase>(kind - 1)) {
        case LayerPhase::query_key_value: return bytes({&layer.q, &layer.k, &layer.v});
        case LayerPhase::attend: return work_[tokens_.size()] * shape_.kv_heads * shape_.head_stride() * 8;
        case LayerPhase::output: return bytes({&layer.o});
        case LayerPhase::gate_up: return bytes({&layer.gate, &layer.up});
        case LayerPhase::down: return bytes({&layer.down});
        default: return 0;
    }
}

// A few tokens are read for, many multiplied for.
std::size_t Decoder::product_cost(Linears linears) const {
    std::size_t bytes = 0;
    for (const Linear* linear : linears) bytes += byte_rows(linear->weight) * row_bytes(linear->weight);
    return bytes * (tokens_.size() + 7) / 8;
}

Decoder::Share Decoder::share_of(std::size_t phase) const {
    const std::size_t tokens = tokens_.size(), rows = logit_rows_.size();
    if (phase == 0) return {tokens, 1, tokens * shape_.hidden};
    if (--phase < model_.layers.size() * kLayerPhases)
        return layer_share(model_.layers[phase / kLayerPhases], static_cast<LayerPhase>(phase % kLayerPhases));
    return {rows, 1, rows * shape_.hidden * 2};
}

Decoder::Share Decoder::layer_share(const Layer& layer, LayerPhase phase) const {
    const std::size_t tokens = tokens_.size(), grain = row_grain(tokens);
    const auto quantize = [&](std::size_t features) { return Share{tokens, 1, tokens * features * 4}; };
    const auto product = [&](Linears linears) {
        std::size_t rows = 0;
        for (const Linear* linear : linears) rows = round_up(rows, grain) + byte_rows(linear->weight);
        Share share{rows, grain, product_cost(linears)};
        if (tokens == 1) share.each = kTokenItems;
        return share;
    };
    switch (phase) {
        case LayerPhase::quantize_attention_input: return quantize(shape_.hidden);
        case LayerPhase::query_key_value: return product({&layer.q, &layer.k, &layer.v});
        case LayerPhase::rotate: {
            const std::size_t heads = tokens * (shape_.heads + shape_.kv_heads);
            return {heads, 1, heads * shape_.head_dim * 4};
        }
        case LayerPhase::attend: {
            const std::size_t group = shape_.group(), read = work_[tokens] * shape_.kv_heads * shape_.head_stride() * 8;
            // Threads whose number does not divide that of the heads go halves: the queries of one head, for one token.
            if (tokens == 1 && group == kQueryTile) return {shape_.heads, group / 2, read, 1};
            return {shape_.heads * tokens, group, read * (group + 3) / 4};
        }
        case LayerPhase::quantize_attention: return quantize(shape_.query_features());
        case LayerPhase::output: return product({&layer.o});
        case LayerPhase::quantize_ffn_input: return quantize(shape_.hidden);
        case LayerPhase::gate_up: {
            Share gate = product({&layer.gate});
            gate.cost *= 2;
            return gate;
        }
        case LayerPhase::quantize_ffn: return quantize(shape_.intermediate);
        default: return product({&layer.down});
    }
}

// A phase too small to share is done here and now: that is cheaper than to let the other threads know.
std::size_t Decoder::begin(std::size_t thread, std::size_t phase) {
    share_ = share_of(phase);
    if (profile_.on()) {
        if (phase > 0) profile_.close(bytes_read(phase - 1));
        profile_.open(kind_of(phase), active_);
    }
    items_ = active_ == 1 ? 1 : share_.cost / ((thread_work_ + 3) / 4);
    items_ = std::min(items_, share_.each * active_);
    if (items_ <= 1) {
        run_range(thread, phase, {0, share_.total});
        return 0;
    }
    const std::size_t most = (share_.total + share_.grain - 1) / share_.grain;
    items_ = std::min(round_up(items_, active_), most);  // as many for each
    return items_;
}

void Decoder::run(std::size_t thread, std::size_t phase, std::size_t item) {
    run_range(thread, phase, part(share_.total, share_.grain, item, items_));
}

void Decoder::run_range(std::size_t thread, std::size_t phase, Range range) {
    const Profile::Work work(profile_, thread);
    if (phase == 0) return embed(thread, range);
    if (--phase < model_.layers.size() * kLayerPhases)
        return run_layer(thread, phase / kLayerPhases, static_cast<LayerPhase>(phase % kLayerPhases), range);
    norm_rows(range);
}

void Decoder::run_layer(std::size_t thread, std::size_t index, LayerPhase phase, Range range) {
    const Layer& layer = model_.layers[index];
    const Linears attention_in = {&layer.q, &layer.k, &layer.v}, ffn_in = {&layer.gate, &layer.up};
    switch (phase) {
        case LayerPhase::quantize_attention_input:
            return quantize_inputs(thread, hidden_, layer.input_layernorm, attention_in, range);
        case LayerPhase::query_key_value:
            return multiply(attention_in, {query_.data(), key_.data(), value_.data()}, range);
        case LayerPhase::rotate: return rotate_and_store(index, range);
        case LayerPhase::attend: return attend(thread, index, range);
        case LayerPhase::quantize_attention:
            return quantize_inputs(thread, attention_, layer.attn_sub_norm, {&layer.o}, range);
        case LayerPhase::output: return add_product(layer.o, range);
        case LayerPhase::quantize_ffn_input:
            return quantize_inputs(thread, hidden_, layer.post_attention_layernorm, ffn_in, range);
        case LayerPhase::gate_up:
            return kernels_.gate_up(layer.gate.weight, input_of(ffn_in, 0), layer.up.weight, input_of(ffn_in, 1),
                                    shape_.act, range.begin, range.end, ffn_.data(), shape_.intermediate);
        case LayerPhase::quantize_ffn: return quantize_inputs(thread, ffn_, layer.ffn_sub_norm, {&layer.down}, range);
        default: return add_product(layer.down, range);
    }
}

void Decoder::embed(std::size_t thread, Range tokens) {
    for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
        const std::size_t id = static_cast<std::size_t>(tokens_[t].id);
        const std::uint8_t* row = model_.embedding.read(id, 1, workers_[thread].row.data());
        kernels_.widen(row, shape_.hidden, hidden_.data() + t * shape_.hidden);
    }
}

// Normalises and quantises rows of `source` for linears that read the same activations.
void Decoder::quantize_inputs(std::size_t thread, const Buffer<float>& source, const float* norm, Linears linears,
                              Range tokens) {
    const std::size_t features = linears.begin()[0]->weight.in, stride = round_up(features, 64);
    Worker& worker = workers_[thread];
    for (std::size_t t = tokens.begin; t < tokens.end; ++t) {
        const float* x = source.data() + t * features;
        if (norm != nullptr) {
            kernels_.rmsnorm(x, norm, shape_.norm_eps, features, worker.normed.data());
            x = worker.normed.data();
        }
        for (std::size_t i = 0; i < linears.size(); ++i) {
            if (owner_of_input(linears, i) != i) continue;
            const float* input_norm = linears.begin()[i]->input_norm;
            const float* y = x;
            if (input_norm != nullptr) {
                kernels_.rmsnorm(x, input_norm, shape_.input_norm_eps, features, worker.normed_again.data());
                y = worker.normed_again.data();
            }
            kernels_.quantize(y, features, inputs_.values[i].data() + t * stride, inputs_.scales[i].data() + t,
                              inputs_.sums[i].data() + t);
        }
    }
}

Activations Decoder::input_of(Linears linears, std::size_t index) const {
    const std::size_t i = owner_of_input(linears, index), stride = round_up(linears.begin()[0]->weight.in, 64);
    return {inputs_.values[i].data(), stride, inputs_.scales[i].data(), inputs_.sums[i].data(), tokens_.size()};
}

// Several linears as one: the rows of all of them are shared out together.
void Decoder::multiply(Linears linears, std::initializer_list<float*> outputs, Range rows) {
    const std::size_t grain = row_grain(tokens_.size());
    std::size_t offset = 0;
    for (std::size_t i = 0; i < linears.size(); ++i) {
        const TernaryMatrix& weight = linears.begin()[i]->weight;
        const std::size_t begin = std::max(rows.begin, offset) - offset;
        const std::size_t end = std::min(std::max(rows.end, offset) - offset, byte_rows(weight));
        if (begin < end) kernels_.linear(weight, input_of(linears, i), begin, end, outputs.begin()[i], weight.out);
        offset += round_up(byte_rows(weight), grain);
    }
}

void Decoder::add_product(const Linear& linear, Range rows) {
    kernels_.linear_add(linear.weight, input_of({&linear}, 0), rows.begin, rows.end, hidden_.data(), shape_.hidden);
}

// Rotates queries, and writes rotated keys and plain values to the cache.
void Decoder::rotate_and_store(std::size_t layer, Range items) {
    const std::size_t heads = shape_.heads + shape_.kv_heads, head_dim = shape_.head_dim, half = head_dim / 2;
    for (std::size_t item = items.begin; item < items.end; ++item) {
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

// Queries are numbered [kv head][token][query of the group], so that neighbours read the same keys and values.
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

void Decoder::norm_rows(Range rows) {
    const std::size_t hidden = shape_.hidden;
    for (std::size_t r = rows.begin; r < rows.end; ++r)
        kernels_.rmsnorm(hidden_.data() + logit_rows_[r] * hidden, model_.norm, shape_.norm_eps, hidden,
                         normed_rows_ + r * hidden);
}

}  // namespace bitnet
