// Bounds of the noise that sampling adds to logits (docs/numerics.md), over the Vec16 that an instruction set has
// included before.
#pragma once

#include "kernels/philox.hpp"

namespace bitnet {
namespace {

// Upper bounds of the noise of tokens first..first + 15, which is -ln(-ln(1 - r)) * scale for r = word / 2^32 or a
// little more. -ln(1 - r) is at least r. The bits of a float32, read as an integer, are its logarithm to base 2 (times
// 2^23, plus a constant) with straight lines between the powers of two. A straight line is below the logarithm, so
// minus the line is above minus the logarithm, by at most 0.06. The slack covers the roundings to float32.
inline Vec16 bound_noise(const Noise& noise, std::uint32_t first) {
    constexpr float kLn2 = 0.693147181f, kSlack = 2e-4f;
    std::uint32_t words[16];
    noise_words(noise, first, words);
    float lines[16];
    for (int l = 0; l < 16; ++l) {
        const float word = static_cast<float>(words[l]);
        std::int32_t bits;
        __builtin_memcpy(&bits, &word, 4);
        lines[l] = static_cast<float>(bits);
    }
    const Vec16 logarithm = mul(load(lines), broadcast(kLn2 / 8388608.0f));
    return mul(sub(broadcast((32.0f + 127.0f) * kLn2 + kSlack), logarithm), broadcast(noise.scale));
}

}  // namespace
}  // namespace bitnet
