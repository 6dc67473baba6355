// The decoder step: a ragged batch of tokens goes in, logits come out.
//
// A step is a sequence of phases: the embedding, ten phases for each layer, the final norm, and the lm_head (head.hpp).
// Threads share a phase as work items: ranges of byte rows, heads or tokens. No float sum is ever split between work
// items, so the results do not depend on the number of threads or on how a phase is divided. phases.cpp has the table
// of phases: their names, how they are divided, what they read, and what they compute.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <vector>

#include "decoder/batch.hpp"
#include "decoder/kv_cache.hpp"
#include "decoder/model.hpp"
#include "head/head.hpp"
#include "runtime/profile.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

// Owns the threads, the KV cache and all scratch memory; the model's weights belong to the caller. One thread calls it
// at a time.
class Decoder {
  public:
    // `threads` is the largest number of threads that a step uses. With little work a step uses fewer: one for each
    // `thread_work` of the cost of a layer, in the unit of Share::cost. Throws DeviceError if the system refuses to
    // start the threads.
    Decoder(Model model, const Kernels& kernels, std::size_t threads, std::size_t thread_work);

    // Takes the weights of a layer from another place or in another form; the values must be the same.
    void replace_layer(std::size_t index, const Layer& layer) { model_.layers[index] = layer; }

    // Makes a new cache and frees the old one with its contents. Throws as KVCache does.
    void allocate(std::size_t blocks, std::size_t block_size);

    // Writes logits [rows, vocab]. Throws RequestError or std::invalid_argument before anything is computed.
    void forward(const Batch& batch, float* logits);

    // Runs a step as `forward` does, but writes only the logits that pass the filters [rows]; see Head::candidates.
    void forward_candidates(const Batch& batch, const LogitFilter* filters, const Head::CandidateRows& out);

    // Runs a step without the lm_head; the next three can then compute logits of its rows.
    void forward_layers(const Batch& batch);

    // Writes the logits of all rows of the last step that pass the filters [rows]; see Head::candidates.
    void candidates(const LogitFilter* filters, const Head::CandidateRows& out);

    // Writes the logits [count] of the tokens `ids` [count] for a row of the last step; see Head::listed.
    void listed(std::size_t row, const std::int32_t* ids, std::size_t count, float* logits);

    // Writes all logits [count, vocab] of the rows `first`, `first` + 1, ... of the last step.
    void whole_rows(std::size_t first, std::size_t count, float* logits);

    // Bytes of the ternary matrices, the embedding and the lm_head; tied tables count once.
    std::size_t weight_bytes() const;
    // The part of weight_bytes that stays in its file, from where single rows are read.
    std::size_t file_bytes() const;

    // Bytes of the KV cache once it is full.
    std::size_t kv_cache_bytes() const { return cache_.bytes(); }
    std::size_t kv_bytes_per_position() const { return KVCache::bytes_per_position(shape_); }

    const Model& model() const { return model_; }

    // The lm_head. It keeps the rows of the last step.
    const Head& head() const { return head_; }

    const Kernels& kernels() const { return kernels_; }
    std::size_t threads() const { return team_.size(); }
    Profile& profile() { return profile_; }

    // Names of the entries of the profile, in the order of a step.
    static std::vector<const char*> phase_names();

  private:
    // A batch is computed in chunks of at most this many tokens, which bounds the scratch memory.
    static constexpr std::size_t kMaxChunkTokens = 256;
    // q, k and v may be quantised separately.
    static constexpr std::size_t kMaxInputs = 3;

    // Quantised inputs of the linears that read the same activations. One input is enough unless linears have norms of
    // their own.
    struct Inputs {
        std::array<Buffer<std::int8_t>, kMaxInputs> values;
        std::array<Buffer<float>, kMaxInputs> scales;
        std::array<Buffer<std::int32_t>, kMaxInputs> sums;
        std::array<Buffer<float>, kMaxInputs> low_rank;  // [tokens][largest rank], for each of the phase's linears
        void grow(std::size_t inputs, std::size_t tokens, std::size_t stride, std::size_t scales_per_token);
    };
    // Scratch of one thread.
    struct alignas(64) Worker {
        Buffer<std::uint8_t> row;            // a row of the embedding, if that is in a file
        Buffer<float> normed, input_normed;  // a token's activations after the layer's norm, after the linear's norm
        Buffer<float> scores, sums;          // of AttentionTile
    };
    // A token of the current chunk.
    struct Token {
        std::int32_t id;
        std::size_t position;
        std::size_t sequence;        // index in the batch
        const std::int32_t* blocks;  // the sequence's block table
    };

    // How a phase can be divided, and what it costs.
    struct Share {
        std::size_t total;  // rows, heads or tokens
        std::size_t grain;  // work items begin at multiples of it
        std::size_t cost;   // 1 is about the time of reading one byte of weights
        std::size_t max_items_per_thread = std::size_t{1} << 20;
    };
    // The table of phases, in phases.cpp: the embedding, the phases of a layer, the final norm. The functions of the
    // first and the last one ignore the layer that they are given.
    struct Phase {
        const char* name;
        Share (*share)(const Decoder& decoder, const Layer& layer);
        // Bytes of weights and of the KV cache that the phase reads from memory.
        std::size_t (*bytes)(const Decoder& decoder, const Layer& layer);
        // Computes `range` of the share's total. Threads call it at the same time, for different ranges.
        void (*run)(Decoder& decoder, std::size_t thread, std::size_t layer, Range range);
    };
    static constexpr std::size_t kPhases = 12;
    static const std::array<Phase, kPhases> kPhaseTable;
    static constexpr std::size_t kLayerPhases = kPhases - 2;
    // The profile's entry of the lm_head follows those of the table.
    static constexpr std::size_t kHeadEntry = kPhases;

    // A phase of the current step: the entry of the table, and the layer that it computes (0 for embedding and norm).
    struct Place {
        std::size_t entry = 0, layer = 0;
    };
    std::size_t step_phases() const { return 1 + model_.layers.size() * kLayerPhases + 1; }
    Place place_of(std::size_t phase) const;

    void prepare_chunk(const Batch& batch, std::size_t begin, std::size_t end);
    void grow_scratch(std::size_t tokens);
    std::size_t active_threads() const;

    // ThreadTeam calls these two: see there.
    friend ThreadTeam;
    std::size_t begin(std::size_t thread, std::size_t phase);
    void run(std::size_t thread, std::size_t phase, std::size_t item);

    std::size_t bytes_read(Place place) const;
    void run_range(std::size_t thread, Range range);

    // What the phases compute, and how they are divided; phases.cpp.
    using Linears = std::span<const Linear* const>;
    Share share_by_token(std::size_t cost_per_token) const;
    Share share_product(Linears linears) const;
    std::size_t product_cost(Linears linears) const;
    std::size_t attention_bytes() const;
    Share share_attention() const;
    void embed(std::size_t thread, Range tokens);
    void quantize_inputs(std::size_t thread, const Buffer<float>& source, const float* norm, Linears linears,
                         Range tokens);
    Activations input_of(Linears linears, std::size_t index) const;
    void adapt(Linears linears, std::size_t index, Range rows, float* out);
    void multiply(Linears linears, std::initializer_list<float*> outputs, Range rows);
    void multiply_gate_up(const Layer& layer, Range rows);
    void add_product(const Linear& linear, Range rows);
    void rotate_and_store(std::size_t layer, Range heads);
    void attend(std::size_t thread, std::size_t layer, Range queries);
    void norm_rows(Range rows);

    Model model_;
    const Shape& shape_ = model_.shape;
    const Kernels& kernels_;
    const std::size_t thread_work_;
    ThreadTeam team_;
    Profile profile_;
    Head head_;
    KVCache cache_;

    // The current chunk. Written between phases, read by all threads.
    std::vector<Token> tokens_;
    std::vector<std::size_t> contexts_before_;  // [tokens + 1]: positions that all earlier tokens attend to, summed
    std::vector<std::size_t> logit_rows_;       // indices into tokens_ whose logits are computed
    float* normed_rows_ = nullptr;              // where the final norm writes: [logit_rows_, hidden]
    std::size_t next_sequence_ = 0, next_row_ = 0;
    std::size_t active_ = 1;  // threads that take part

    // The current phase. Written between phases, read by all threads.
    Place place_;
    Share share_{};
    std::size_t items_ = 0;

    bool separate_inputs_;      // some linear has a norm of its own
    std::size_t largest_rank_;  // of the adapters; 0 without any
    std::vector<Worker> workers_;

    // Activations of a chunk, each [tokens, features].
    std::size_t token_capacity_ = 0;
    Inputs inputs_;
    Buffer<float> hidden_, query_, key_, value_;
    Buffer<float> rotated_;  // queries after RoPE: [tokens, heads, head_stride], the padding stays zero
    Buffer<float> attention_, ffn_;
    Buffer<float> up_;  // only with adapters
};

}  // namespace bitnet
