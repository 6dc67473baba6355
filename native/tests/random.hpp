// Random numbers, activations and models for the native test program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "decoder/model.hpp"

namespace bitnet {

// A linear congruential generator. It gives the same numbers everywhere; the distributions of <random> do not.
class Random {
  public:
    std::uint32_t bits() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::uint32_t>(state_ >> 33);
    }
    // Returns a number from -1 to 1.
    float number() { return static_cast<float>(bits() % 20001) / 10000.0f - 1.0f; }
    std::vector<float> floats(std::size_t n, float scale = 1.0f, float offset = 0.0f) {
        std::vector<float> values(n);
        for (float& value : values) value = scale * number() + offset;
        return values;
    }
    // Bytes of four ternary codes each, uniformly 0, 1 or 2.
    std::vector<std::uint8_t> codes(std::size_t n) {
        std::vector<std::uint8_t> bytes(n);
        for (std::uint8_t& byte : bytes)
            byte = static_cast<std::uint8_t>(bits() % 3 | bits() % 3 << 2 | bits() % 3 << 4 | bits() % 3 << 6);
        return bytes;
    }
    // The bytes of a matrix in the grouped form: any codes; scales of either sign, of which one in 16 is subnormal.
    std::vector<std::uint8_t> grouped(std::size_t out, std::size_t in, std::size_t group) {
        const TernaryMatrix matrix{nullptr, out, in, 0.0f, TernaryForm::grouped, group};
        std::vector<std::uint8_t> bytes(byte_rows(matrix) * row_bytes(matrix));
        for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(bits());
        for (std::size_t record = 0; record < bytes.size(); record += group_bytes(group))
            for (std::size_t row = 0; row < kBlockRows; ++row) {  // exponents 0 to 15 of 31: below 2
                std::uint8_t& high = bytes[record + 2 * row + 1];
                high = static_cast<std::uint8_t>(high & 0xbf);
            }
        return bytes;
    }
    // n bfloat16 numbers that begin at byte 1, an odd address: kernels must take any alignment.
    std::vector<std::uint8_t> bfloat16(std::size_t n) {
        std::vector<std::uint8_t> bytes(2 * n + 1);
        for (std::size_t i = 0; i < n; ++i) {
            const float value = number();
            std::memcpy(&bytes[2 * i + 1], reinterpret_cast<const char*>(&value) + 2, 2);
        }
        return bytes;
    }

  private:
    std::uint64_t state_ = 1;
};

// Random activations and their quantised form, which is the same for all kernel tables.
struct Rows {
    Rows(Random& random, const Kernels& kernels, std::size_t tokens, std::size_t in)
        : Rows(random.floats(tokens * in, 3.0f), kernels, tokens, in) {}
    Rows(std::vector<float> numbers, const Kernels& kernels, std::size_t tokens, std::size_t in)
        : stride(round_up(in, 64)), x(std::move(numbers)), values(tokens * stride), scales(tokens), sums(tokens) {
        for (std::size_t t = 0; t < tokens; ++t)
            kernels.quantize(x.data() + t * in, in, values.data() + t * stride, &scales[t], &sums[t]);
    }
    // x minus its quantised form.
    std::vector<float> residual() const {
        const std::size_t in = x.size() / scales.size();
        std::vector<float> numbers(x);
        for (std::size_t i = 0; i < x.size(); ++i)
            numbers[i] -= (1.0f / scales[i / in]) * values[i / in * stride + i % in];
        return numbers;
    }
    // Adds the rows of `more` to the quantised rows.
    void append(const Rows& more) {
        values.insert(values.end(), more.values.begin(), more.values.end());
        scales.insert(scales.end(), more.scales.begin(), more.scales.end());
        sums.insert(sums.end(), more.sums.begin(), more.sums.end());
    }
    Activations view() const { return {values.data(), stride, scales.data(), sums.data(), scales.size()}; }
    std::size_t stride;
    std::vector<float> x;
    std::vector<std::int8_t> values;
    std::vector<float> scales;
    std::vector<std::int32_t> sums;
};

// A random model that owns its arrays. `llama` gives it SiLU, as many KV heads as heads, and norms before each linear
// and of each head; otherwise it has squared ReLU, groups of four heads, and sub-norms, as BitNet b1.58 has. `group`
// gives all its matrices the grouped form, also the embedding and the lm_head.
struct RandomModel {
    explicit RandomModel(bool llama, std::size_t group = 0) {
        Random random;
        Shape& shape = model.shape;
        shape = {97,
                 72,
                 148,
                 2,
                 llama ? 3u : 8u,
                 llama ? 3u : 2u,
                 24,
                 1e-5f,
                 1e-6f,
                 llama ? HiddenAct::silu : HiddenAct::relu2};
        if (group != 0) {
            shape.hidden = group;
            shape.intermediate = 3 * group;
            shape.heads = shape.kv_heads = 3;
            shape.head_dim = group;
        }
        model.context = 320;
        model.embedding.floats = {keep(bytes, random.bfloat16(shape.vocab * shape.hidden)) + 1, shape.hidden};
        model.head.floats = {keep(bytes, random.bfloat16(shape.vocab * shape.hidden)) + 1, shape.hidden};
        const auto gain = [&](std::size_t n) { return keep(floats, random.floats(n, 0.5f, 1.0f)); };
        if (group != 0) {
            model.embedding.ternary = grouped(random, shape.vocab, shape.hidden, group);
            model.head.ternary = grouped(random, shape.vocab, shape.hidden, group);
        }
        const auto linear = [&](std::size_t out, std::size_t in) {
            if (group != 0) return Linear{grouped(random, out, in, group), llama ? gain(in) : nullptr};
            return Linear{{keep(bytes, random.codes(out / 4 * in)), out, in, 0.1f, TernaryForm::stored},
                          llama ? gain(in) : nullptr};
        };
        model.norm = gain(shape.hidden);
        model.cos = keep(floats, random.floats(model.context * shape.head_dim / 2));
        model.sin = keep(floats, random.floats(model.context * shape.head_dim / 2));
        const std::size_t query = shape.query_features(), kv = shape.kv_features();
        for (std::size_t l = 0; l < shape.layers; ++l)
            model.layers.push_back({gain(shape.hidden), gain(shape.hidden), llama ? nullptr : gain(query),
                                    llama ? nullptr : gain(shape.intermediate), llama ? gain(shape.head_dim) : nullptr,
                                    llama ? gain(shape.head_dim) : nullptr, linear(query, shape.hidden),
                                    linear(kv, shape.hidden), linear(kv, shape.hidden), linear(shape.hidden, query),
                                    linear(shape.intermediate, shape.hidden), linear(shape.intermediate, shape.hidden),
                                    linear(shape.hidden, shape.intermediate)});
    }
    TernaryMatrix grouped(Random& random, std::size_t out, std::size_t in, std::size_t group) {
        return {keep(bytes, random.grouped(out, in, group)), out, in, 0.0f, TernaryForm::grouped, group};
    }
    // Stores an array and returns its address.
    template <typename T>
    static const T* keep(std::vector<std::vector<T>>& arrays, std::vector<T> array) {
        arrays.push_back(std::move(array));
        return arrays.back().data();
    }
    Model model;
    std::vector<std::vector<float>> floats;
    std::vector<std::vector<std::uint8_t>> bytes;
};

}  // namespace bitnet
