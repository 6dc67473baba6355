// The decoder step: a ragged batch of tokens in, logits out.
//
// A step is a sequence of phases, each shared out among the threads by rows, heads or tokens: ten a layer, five where
// the step is a single token. No sum is ever split between items, so results do not depend on the threads or the
// sharing.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "decoder/batch.hpp"
#include "decoder/kv_cache.hpp"
#include "decoder/model.hpp"
#include "head/head.hpp"
#include "runtime/profile.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

class Decoder {
  public:
    // A step runs on one thread for each `thread_work` of its work a layer, which counts as Cost below does, but on at
    // most `threads`.
    Decoder(Model model, const Kernels& kernels, std::size_t threads, std::size_t thread_work);

    // Forgets the old cache. Throws DeviceError.
    void allocate(std::size_t blocks, std::size_t block_size);

    // Writes logits [rows, vocab]. Throws RequestError or std::invalid_argument before anything is computed.
    void forward(const Batch& batch, float* logits);

    // As forward, but only the logits that pass the cuts; see Head::greatest.
    void forward_greatest(const Batch& batch, const Cut* cuts, const Head::Passed& passed);

    // Of ternary matrices and tables; of tables in a file how much is only read from it.
    std::size_t weight_bytes() const;
    std::size_t file_bytes() const;

    // Memory that the cache may take.
    std::size_t cache_bytes() const { return cache_.bytes(); }

    // The output head, with the rows of the last step.
    Head& head() { return head_; }

    const Kernels& kernels() const { return kernels_; }
    std::size_t threads() const { return team_.size(); }
    Profile& profile() { return profile_; }

    // Names of the profile's kinds of phases, in the order of a step.
    static const std::vector<const char*>& phase_names();

  private:
    // Batches are worked off in chunks of at most this many tokens, which bounds the scratch memory.
    static constexpr std::size_t kChunk = 256;
    // q, k and v may be quantised apart.
    static constexpr std::size_t kInputs = 3;

    // Quantised inputs of the linears that read the same activations.
    struct Inputs {
        std::array<Buffer<std::int8_t>, kInputs> values;
        std::array<Buffer<float>, kInputs> scales;
        std::array<Buffer<std::int32_t>, kInputs> sums;
        void grow(std::size_t inputs, std::size_t tokens, std::size_t stride);
    };
    struct alignas(64) Worker {
        Buffer<std::uint8_t> row;
        Buffer<float> normed, normed_again, scores, sums;
    };
    struct Token {
        std::int32_t id;
        std::size_t position;
        std::size_t sequence;
        const std::int32_t* blocks;
    };

    // How a phase can be divided, and what it costs: 1 for about as long as reading a byte of weights takes.
    struct Share {
        std::size_t total, grain, cost;
        std::size_t each = std::size_t{1} << 20;  // items for each thread at most
    };
    enum class LayerPhase {
        quantize_attention_input,
        query_key_value,
        rotate,
        attend,
        quantize_attention,
        output,
        quantize_ffn_input,
        gate_up,
        quantize_ffn,
        down,
    };
    static constexpr std::size_t kLayerPhases = 10;
    // The profile's kinds: embed, a layer's phases, final norm, head.
    static constexpr std::size_t kHead = kLayerPhases + 2;

    void run_layers(const Batch& batch);
    void prepare(const Batch& batch, std::size_t begin, std::size_t end);
    void grow_scratch(std::size_t tokens);
    // What the threads do.
    friend ThreadTeam;
    std::size_t begin(std::size_t thread, std::size_t phase);
    void run(std::size_t thread, std::size_t phase, std::size_t item);

    using Linears = std::initializer_list<const Linear*>;
    std::size_t active_threads() const;
    std::size_t product_cost(Linears linears) const;
    Share share_of(std::size_t phase) const;
    Share layer_share(const Layer& layer, LayerPhase phase) const;
    std::size_t kind_of(std::size_t phase) const;
    std::size_t bytes_read(std::size_t phase) const;
    void run_range(std::size_t thread, std::size_t phase, Range range);
    void run_layer(std::size_t thread, std::size_t layer, LayerPhase phase, Range range);
    void embed(std::size_t thread, Range tokens);
    void quantize_inputs(std::size_t thread, const Buffer<float>& source, const float* norm, Linears linears,
                         Range tokens);
    Activations input_of(Linears linears, std::size_t index) const;
    void multiply(Linears linears, std::initializer_list<float*> outputs, Range rows);
    void add_product(const Linear& linear, Range rows);
    void rotate_and_store(std::size_t layer, Range heads);
    void attend(std::size_t thread, std::size_t layer, Range queries);
    void norm_rows(Range rows);

    const Model model_;
    const Shape& shape_ = model_.shape;
    const Kernels& kernels_;
    const std::size_t thread_work_;
    ThreadTeam team_;
    Profile profile_;
    Head head_;
    KVCache cache_;

    // The chunk at hand.
    std::vector<Token> tokens_;
    std::vector<std::size_t> work_;        // attention work of the tokens before each one, and of all
    std::vector<std::size_t> logit_rows_;  // tokens whose logits are wanted
    float* normed_rows_ = nullptr;         // where their normed hidden states go
    std::size_t next_sequence_ = 0, next_row_ = 0;
    std::size_t active_ = 1;  // threads
    // The phase at hand.
    Share share_{};
    std::size_t items_ = 0;

    bool separate_inputs_;
    std::vector<Worker> workers_;
    std::size_t token_capacity_ = 0;
    Inputs inputs_;
    Buffer<float> hidden_, query_, key_, value_, rotated_, attention_, ffn_;
};

}  // namespace bitnet
