// The decoder step: a ragged batch of tokens in, logits out.
//
// All threads run the same step side by side and meet at barriers: ten a layer, six where the step is a single token.
// Each takes a fixed share of every operation's rows, heads or tokens. No sum is ever split between threads, so results
// do not depend on how many there are.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "batch.hpp"
#include "kv_cache.hpp"
#include "model.hpp"
#include "threads.hpp"

namespace bitnet {

class Decoder {
  public:
    Decoder(Model model, const Kernels& kernels, std::size_t threads);

    // Forgets the old cache. Throws DeviceError.
    void allocate(std::size_t blocks, std::size_t block_size);

    // Writes logits [rows, vocab]. Throws RequestError or std::invalid_argument before anything is computed.
    void forward(const Batch& batch, float* logits);

    const Kernels& kernels() const { return kernels_; }
    std::size_t threads() const { return team_.size(); }

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
        Inputs inputs;  // of one token, for steps of one token
        Buffer<float> normed, normed_again, scores, sums;
    };
    struct Token {
        std::int32_t id;
        std::size_t position;
        std::size_t sequence;
        const std::int32_t* blocks;
    };

    void prepare(const Batch& batch, std::size_t begin, std::size_t end, float* logits);
    void grow_scratch(std::size_t tokens, std::size_t rows);
    void run_chunk(std::size_t thread);
    void run_layer(std::size_t thread, std::size_t layer);
    void quantize_inputs(std::size_t thread, const Buffer<float>& source, std::size_t features, const float* norm,
                         std::initializer_list<const Linear*> linears, Activations* inputs);
    void multiply(std::size_t thread, std::initializer_list<const Linear*> linears, const Activations* inputs,
                  std::initializer_list<float*> outputs);
    void rotate_and_store(std::size_t thread, std::size_t layer);
    void attend(std::size_t thread, std::size_t layer);
    std::size_t first_query(std::size_t thread) const;
    void write_logits(std::size_t thread);

    const Model model_;
    const Shape& shape_ = model_.shape;
    const Kernels& kernels_;
    ThreadTeam team_;
    KVCache cache_;

    // The chunk at hand.
    std::vector<Token> tokens_;
    std::vector<std::size_t> work_;        // attention work of the tokens before each one, and of all
    std::vector<std::size_t> logit_rows_;  // tokens whose logits are wanted
    float* logits_ = nullptr;              // where they go
    std::size_t next_sequence_ = 0, next_row_ = 0;

    bool separate_inputs_;
    std::vector<Worker> workers_;
    std::size_t token_capacity_ = 0;
    Inputs inputs_;
    Buffer<float> hidden_, query_, key_, value_, rotated_, attention_, ffn_, normed_rows_;
};

}  // namespace bitnet
