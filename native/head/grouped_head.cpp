// A ternary lm_head in the grouped form: its logits are a BitLinear of the normed hidden states, which are quantised in
// the groups of the weights.
#include <algorithm>

#include "head/head.hpp"

namespace bitnet {

// Quantises `count` rows of the step from row `first` on.
void Head::quantize_grouped(std::size_t first, std::size_t count) {
    const std::size_t hidden = shape_.hidden, group = model_.head.ternary.group, groups = hidden / group;
    count_ = count;
    values_.grow(count * hidden);
    scales_.grow(count * groups);
    sums_.grow(count * groups);
    for (std::size_t row = 0; row < count; ++row)
        kernels_.quantize_groups(normed_.data() + (first + row) * hidden, hidden, group, values_.data() + row * hidden,
                                 scales_.data() + row * groups, sums_.data() + row * groups);
}

Activations Head::grouped_input() const {
    return {values_.data(), shape_.hidden, scales_.data(), sums_.data(), count_};
}

void Head::compute_grouped(Range rows) {
    kernels_.linear(model_.head.ternary, grouped_input(), rows.begin, rows.end, out_, shape_.vocab);
}

// Computes the logits of listed tokens. Each takes the byte row of its token, which has 16 logits.
void Head::compute_grouped_listed(Range range) {
    for (std::size_t i = range.begin; i < range.end; ++i) {
        const std::size_t id = static_cast<std::size_t>(listed_[i]), row = id / kBlockRows;
        TernaryMatrix weight = model_.head.ternary;
        weight.packed += row * row_bytes(weight);
        weight.out = std::min(weight.out - row * kBlockRows, kBlockRows);
        float logits[kBlockRows];
        kernels_.linear(weight, grouped_input(), 0, 1, logits, kBlockRows);
        out_[i] = logits[id % kBlockRows];
    }
}

}  // namespace bitnet
