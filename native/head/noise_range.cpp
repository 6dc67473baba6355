#include "head/noise_range.hpp"

#include <cmath>

#include "kernels/philox.hpp"

namespace bitnet {

ScoreRange score_range(const Noise& noise, float logit, std::int32_t id) {
    std::uint32_t words[1];
    noise_words(noise, static_cast<std::uint32_t>(id), words);
    // r is at least word / 2^32 and less than (word + 1) / 2^32; the noise falls with r. r = 0 would give infinity, and
    // r = 1 minus infinity: no noise of 64 bits is beyond 46 and -4.
    const double low = words[0] * 0x1p-32, high = (words[0] + 1.0) * 0x1p-32;
    const double greatest = low > 0.0 ? -std::log(-std::log1p(-low)) : 46.0;
    const double least = high < 1.0 ? -std::log(-std::log1p(-high)) : -4.0;
    const double scale = noise.scale, wide = logit, slack = 1e-6 * (std::fabs(wide) + 256.0 * scale);
    return {static_cast<float>(wide + scale * least - slack), static_cast<float>(wide + scale * greatest + slack)};
}

}  // namespace bitnet
