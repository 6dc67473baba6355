#include "head/candidates.hpp"

#include <algorithm>
#include <limits>

namespace bitnet {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

void CandidateCollector::start(const LogitFilter& filter) {
    count_ = filter.count;
    noisy_ = filter.noise.scale > 0.0f;
    overflowed_ = false;
    largest_ = best_score_ = -kInfinity;
    candidates_.clear();
    candidates_.reserve(kMaxCandidates + 1);
}

float CandidateCollector::threshold() const {
    if (noisy_) return largest_;
    return candidates_.size() == count_ ? candidates_.front().logit : -kInfinity;
}

void CandidateCollector::add(Candidate candidate) {
    if (noisy_) {
        largest_ = std::max(largest_, candidate.logit);
        best_score_ = std::max(best_score_, candidate.least_score);
        candidates_.push_back(candidate);
        if (candidates_.size() > kMaxCandidates) shrink();
        return;
    }
    const auto before = [](const Candidate& a, const Candidate& b) { return a.before(b); };
    // A full heap: the new candidate replaces the last one, if it comes before that.
    if (candidates_.size() == count_) {
        if (!candidate.before(candidates_.front())) return;
        std::pop_heap(candidates_.begin(), candidates_.end(), before);
        candidates_.pop_back();
    }
    candidates_.push_back(candidate);
    std::push_heap(candidates_.begin(), candidates_.end(), before);
}

// Makes room: keeps what passes, and of the rest the largest logits.
void CandidateCollector::shrink() {
    constexpr std::ptrdiff_t kKept = kMaxCandidates / 2;
    const auto passing = std::partition(candidates_.begin(), candidates_.end(), [&](const Candidate& candidate) {
        return candidate.logit >= largest_ || candidate.greatest_score >= best_score_;
    });
    const std::ptrdiff_t passed = passing - candidates_.begin();
    overflowed_ = overflowed_ || passed > kKept;
    if (passed < kKept)
        std::nth_element(passing, candidates_.begin() + kKept, candidates_.end(),
                         [](const Candidate& a, const Candidate& b) { return a.before(b); });
    candidates_.resize(kKept);
}

void CandidateCollector::merge(const CandidateCollector& other) {
    for (const Candidate& candidate : other.candidates_) add(candidate);
    overflowed_ = overflowed_ || other.overflowed_;
}

}  // namespace bitnet
