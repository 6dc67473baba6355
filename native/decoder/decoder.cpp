#include "decoder/decoder.hpp"

#include <algorithm>
#include <utility>

namespace bitnet {

namespace {

bool has_input_norms(const Layer& layer) {
    return std::any_of(kLinears.begin(), kLinears.end(),
                       [&](const LinearField& field) { return (layer.*field.member).input_norm != nullptr; });
}

// The largest number of scales that the activations of one token have.
std::size_t most_scales(const Model& model) {
    std::size_t most = 1;
    for (const Layer& layer : model.layers)
        for (const LinearField& field : kLinears) most = std::max(most, scales_of((layer.*field.member).weight));
    return most;
}

std::size_t largest_rank(const Model& model) {
    std::size_t rank = 0;
    for (const Layer& layer : model.layers)
        for (const LinearField& field : kLinears) rank = std::max(rank, (layer.*field.member).adapter.rank);
    return rank;
}

bool tied(const Model& model) { return model.embedding.data() == model.head.data(); }

}  // namespace

void Decoder::Inputs::grow(std::size_t inputs, std::size_t tokens, std::size_t stride, std::size_t scales_per_token) {
    for (std::size_t i = 0; i < inputs; ++i) {
        values[i].grow(tokens * stride);
        scales[i].grow(tokens * scales_per_token);
        sums[i].grow(tokens * scales_per_token);
    }
}

Decoder::Decoder(Model model, const Kernels& kernels, std::size_t threads, std::size_t thread_work)
    : model_(std::move(model)),
      kernels_(kernels),
      thread_work_(std::max<std::size_t>(thread_work, 1)),
      team_(threads),
      profile_(kPhases + 1, threads),
      head_(model_, kernels, team_, thread_work_, profile_),
      separate_inputs_(std::any_of(model_.layers.begin(), model_.layers.end(), has_input_norms)),
      largest_rank_(largest_rank(model_)),
      workers_(threads) {
    const std::size_t widest = std::max({shape_.hidden, shape_.intermediate, shape_.query_features()});
    for (Worker& worker : workers_) {
        worker.row.grow(model_.embedding.floats.row_bytes());
        worker.normed.grow(widest);
        worker.input_normed.grow(widest);
        worker.scores.grow(kQueryTile * round_up(model_.context, 16));
        worker.sums.grow(kQueryTile * shape_.head_stride());
    }
    tokens_.reserve(kMaxChunkTokens);
    contexts_before_.reserve(kMaxChunkTokens + 1);
    logit_rows_.reserve(kMaxChunkTokens);
}

void Decoder::allocate(std::size_t blocks, std::size_t block_size) {
    cache_ = KVCache();  // frees the old cache first: there may not be enough memory for both
    cache_ = KVCache(shape_, blocks, block_size);
}

void Decoder::forward(const Batch& batch, float* logits) {
    forward_layers(batch);
    whole_rows(0, batch.rows, logits);
}

void Decoder::forward_candidates(const Batch& batch, const LogitFilter* filters, const Head::CandidateRows& out) {
    forward_layers(batch);
    candidates(filters, out);
}

void Decoder::candidates(const LogitFilter* filters, const Head::CandidateRows& out) {
    profile_.open(kHeadEntry, team_.size());
    head_.candidates(filters, out);
    profile_.close(head_.bytes_read());
}

void Decoder::listed(std::size_t row, const std::int32_t* ids, std::size_t count, float* logits) {
    profile_.open(kHeadEntry, team_.size());
    head_.listed(row, ids, count, logits);
    profile_.close(count * model_.head.bytes(shape_.vocab) / shape_.vocab);
}

void Decoder::whole_rows(std::size_t first, std::size_t count, float* logits) {
    profile_.open(kHeadEntry, team_.size());
    head_.logits(first, count, logits);
    profile_.close(count > 0 ? model_.head.bytes(shape_.vocab) : 0);
}

// Works chunk by chunk.
void Decoder::forward_layers(const Batch& batch) {
    check(batch, model_, cache_);
    next_row_ = next_sequence_ = 0;
    float* rows = head_.start(batch.rows);
    for (std::size_t begin = 0; begin < batch.tokens; begin += kMaxChunkTokens) {
        normed_rows_ = rows + next_row_ * shape_.hidden;
        prepare_chunk(batch, begin, std::min(batch.tokens, begin + kMaxChunkTokens));
        grow_scratch(tokens_.size());
        active_ = active_threads();
        team_.run(*this, step_phases(), active_);
        if (profile_.on()) profile_.close(bytes_read(place_));
    }
}

// Makes tokens begin..end (exclusive) of the batch the current chunk. Chunks are prepared in order: next_sequence_ and
// next_row_ go on from where the previous chunk stopped.
void Decoder::prepare_chunk(const Batch& batch, std::size_t begin, std::size_t end) {
    tokens_.clear();
    logit_rows_.clear();
    contexts_before_.assign(1, 0);
    for (std::size_t t = begin; t < end; ++t) {
        while (static_cast<std::size_t>(batch.starts[next_sequence_ + 1]) <= t) ++next_sequence_;
        const std::size_t offset = t - static_cast<std::size_t>(batch.starts[next_sequence_]);
        const std::size_t position = static_cast<std::size_t>(batch.positions[next_sequence_]) + offset;
        tokens_.push_back(
            {batch.token_ids[t], position, next_sequence_, batch.block_tables + next_sequence_ * batch.table_width});
        contexts_before_.push_back(contexts_before_.back() + position + 1);
        if (next_row_ < batch.rows && static_cast<std::size_t>(batch.logit_rows[next_row_]) == t) {
            logit_rows_.push_back(t - begin);
            ++next_row_;
        }
    }
}

void Decoder::grow_scratch(std::size_t tokens) {
    if (tokens <= token_capacity_) return;
    token_capacity_ = 0;  // stays 0 if a buffer throws: then not all of them have grown
    const std::size_t widest = std::max({shape_.hidden, shape_.intermediate, shape_.query_features()});
    inputs_.grow(separate_inputs_ ? kMaxInputs : 1, tokens, round_up(widest, 64), most_scales(model_));
    for (Buffer<float>& low_rank : inputs_.low_rank) low_rank.grow(tokens * largest_rank_);
    hidden_.grow(tokens * shape_.hidden);
    query_.grow(tokens * shape_.query_features());
    key_.grow(tokens * shape_.kv_features());
    value_.grow(tokens * shape_.kv_features());
    rotated_.grow(tokens * shape_.heads * shape_.head_stride());
    attention_.grow(tokens * shape_.query_features());
    ffn_.grow(tokens * shape_.intermediate);
    if (largest_rank_ > 0) up_.grow(tokens * shape_.intermediate);
    token_capacity_ = tokens;
}

// Returns how many threads take part in the current chunk: one for each thread_work_ of a layer's products. With little
// work, many threads are slower than few, and much slower if other processes use the processors too.
std::size_t Decoder::active_threads() const {
    std::size_t cost = 0;
    for (const Layer& layer : model_.layers) {
        std::array<const Linear*, kLinears.size()> linears;
        std::transform(kLinears.begin(), kLinears.end(), linears.begin(),
                       [&](const LinearField& field) { return &(layer.*field.member); });
        cost += product_cost(linears);
    }
    const std::size_t threads = cost / model_.layers.size() / thread_work_;
    return std::min(std::max<std::size_t>(threads, 1), team_.size());
}

std::size_t Decoder::weight_bytes() const {
    std::size_t bytes = 0;
    for (const Layer& layer : model_.layers)
        for (const LinearField& field : kLinears) bytes += matrix_bytes((layer.*field.member).weight);
    const std::size_t head = model_.head.bytes(shape_.vocab);
    return bytes + head + (tied(model_) ? 0 : model_.embedding.bytes(shape_.vocab));
}

std::size_t Decoder::file_bytes() const {
    const bool head = model_.head.in_file() && !head_.table_in_memory();
    const bool embedding = model_.embedding.in_file() && !tied(model_);
    return (head ? model_.head.bytes(shape_.vocab) : 0) + (embedding ? model_.embedding.bytes(shape_.vocab) : 0);
}

std::vector<const char*> Decoder::phase_names() {
    std::vector<const char*> names;
    for (const Phase& phase : kPhaseTable) names.push_back(phase.name);
    names.push_back("head");
    return names;
}

Decoder::Place Decoder::place_of(std::size_t phase) const {
    if (phase == 0) return {0, 0};
    if (phase + 1 == step_phases()) return {kPhases - 1, 0};
    return {1 + (phase - 1) % kLayerPhases, (phase - 1) / kLayerPhases};
}

std::size_t Decoder::bytes_read(Place place) const {
    return kPhaseTable[place.entry].bytes(*this, model_.layers[place.layer]);
}

// Divides the next phase into work items. Each active thread gets the same number of them, about one for each quarter
// of thread_work_. A phase that is too small to share runs here, on this thread: waking the others would take longer.
std::size_t Decoder::begin(std::size_t thread, std::size_t phase) {
    const Place previous = place_;
    place_ = place_of(phase);
    share_ = kPhaseTable[place_.entry].share(*this, model_.layers[place_.layer]);
    if (profile_.on()) {
        if (phase > 0) profile_.close(bytes_read(previous));
        profile_.open(place_.entry, active_);
    }
    items_ = active_ == 1 ? 1 : share_.cost / ((thread_work_ + 3) / 4);
    items_ = std::min(items_, share_.max_items_per_thread * active_);
    if (items_ <= 1) {
        run_range(thread, {0, share_.total});
        return 0;
    }
    const std::size_t grains = (share_.total + share_.grain - 1) / share_.grain;
    items_ = std::min(round_up(items_, active_), grains);
    return items_;
}

void Decoder::run(std::size_t thread, std::size_t, std::size_t item) {
    run_range(thread, part(share_.total, share_.grain, item, items_));
}

void Decoder::run_range(std::size_t thread, Range range) {
    const Profile::Work work(profile_, thread);
    kPhaseTable[place_.entry].run(*this, thread, place_.layer, range);
}

}  // namespace bitnet
