#include "head/candidates.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitnet {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace

void CandidateCollector::start(LogitFilter filter) {
    filter_ = filter;
    largest_ = -kInfinity;
    overflowed_ = false;
    mass_ = 0.0;
    mass_reference_ = -kInfinity;
    candidates_.clear();
    candidates_.reserve(kMaxCandidates + 1);
}

float CandidateCollector::threshold() const {
    float smallest = -kInfinity;
    // One float lower than the difference, because the subtraction may round up.
    if (filter_.margin < kInfinity && largest_ > -kInfinity)
        smallest = std::nextafter(largest_ - filter_.margin, -kInfinity);
    if (filter_.count > 0 && candidates_.size() == filter_.count)
        smallest = std::max(smallest, candidates_.front().logit);
    return smallest;
}

void CandidateCollector::add(Candidate candidate) {
    if (overflowed_) return;
    if (candidate.logit < threshold()) return drop(candidate.logit);
    largest_ = std::max(largest_, candidate.logit);
    const auto before = [](const Candidate& a, const Candidate& b) { return a.before(b); };
    if (filter_.count > 0) {
        // A full heap: the new candidate replaces the last one, or is dropped if it comes after that.
        if (candidates_.size() == filter_.count) {
            if (!candidate.before(candidates_.front())) return drop(candidate.logit);
            std::pop_heap(candidates_.begin(), candidates_.end(), before);
            drop(candidates_.back().logit);
            candidates_.pop_back();
        }
        candidates_.push_back(candidate);
        std::push_heap(candidates_.begin(), candidates_.end(), before);
        return;
    }
    candidates_.push_back(candidate);
    if (candidates_.size() > kMaxCandidates) drop_below_threshold();
}

// Makes room by the current threshold. If less than half becomes free, the collector gives up: making room again and
// again would take longer than computing the whole row.
void CandidateCollector::drop_below_threshold() {
    const float smallest = threshold();
    const auto passing = std::partition(candidates_.begin(), candidates_.end(),
                                        [&](const Candidate& candidate) { return candidate.logit >= smallest; });
    for (auto candidate = passing; candidate != candidates_.end(); ++candidate) drop(candidate->logit);
    candidates_.erase(passing, candidates_.end());
    overflowed_ = overflowed_ || candidates_.size() > kMaxCandidates / 2;
}

void CandidateCollector::drop(float upper_bound) { drop(1.0, upper_bound); }

void CandidateCollector::drop(double mass, float reference) {
    if (filter_.mass_temperature <= 0.0f || reference == -kInfinity) return;
    const double wide = static_cast<double>(reference), temperature = static_cast<double>(filter_.mass_temperature);
    if (wide > mass_reference_) {
        mass_ *= std::exp((mass_reference_ - wide) / temperature);
        mass_reference_ = wide;
    }
    mass_ += mass * std::exp((wide - mass_reference_) / temperature);
}

void CandidateCollector::merge(const CandidateCollector& other) {
    for (const Candidate& candidate : other.candidates_) add(candidate);
    overflowed_ = overflowed_ || other.overflowed_;
    drop(other.mass_, static_cast<float>(other.mass_reference_));
}

double CandidateCollector::dropped_mass() {
    if (filter_.count == 0) drop_below_threshold();
    if (filter_.mass_temperature <= 0.0f) return 0.0;
    const double mass =
        mass_ > 0.0 ? mass_ * std::exp((mass_reference_ - static_cast<double>(largest_)) / filter_.mass_temperature)
                    : 0.0;
    return mass + 1e-37;  // a float32 can hold 1e-37: a positive mass never rounds to zero
}

}  // namespace bitnet
