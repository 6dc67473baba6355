// The random numbers of tokens: the first word of Philox4x32-10, a block cipher for random numbers (Salmon, Moraes,
// Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011). docs/numerics.md says how a token is picked with
// them.
//
// Integer arithmetic is exact, so that all instruction sets give the same words. The loops over lanes are written for
// the compiler's own vectors.
#pragma once

#include "kernels/kernels.hpp"

namespace bitnet {
namespace {

// words[l] is the first word of token first + l.
template <int kLanes>
inline void noise_words(const Noise& noise, std::uint32_t first, std::uint32_t (&words)[kLanes]) {
    std::uint32_t counter[4][kLanes], key[2] = {noise.seed[0], noise.seed[1]};
    for (int l = 0; l < kLanes; ++l) {
        counter[0][l] = first + static_cast<std::uint32_t>(l);
        counter[1][l] = noise.position;
        counter[2][l] = noise.choice;
        counter[3][l] = 0;
    }
    for (int round = 0; round < 10; ++round) {
        for (int l = 0; l < kLanes; ++l) {
            const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0][l];
            const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2][l];
            counter[0][l] = static_cast<std::uint32_t>(b >> 32) ^ counter[1][l] ^ key[0];
            counter[1][l] = static_cast<std::uint32_t>(b);
            counter[2][l] = static_cast<std::uint32_t>(a >> 32) ^ counter[3][l] ^ key[1];
            counter[3][l] = static_cast<std::uint32_t>(a);
        }
        key[0] += 0x9E3779B9;
        key[1] += 0xBB67AE85;
    }
    for (int l = 0; l < kLanes; ++l) words[l] = counter[0][l];
}

}  // namespace
}  // namespace bitnet
