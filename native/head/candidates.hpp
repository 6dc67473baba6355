// The logits of a row that the sampler can use: the largest, or those whose sum with noise may be the largest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// The largest number of candidates of a row. If too many logits pass the filter, the caller computes the whole row.
constexpr std::size_t kMaxCandidates = 4096;

// Says which logits of a row pass; see bitnet_tt.backends.base.LogitFilter. With noise, the largest logit passes, and
// the one with the largest sum of logit and noise; `count` is then 1.
struct LogitFilter {
    std::size_t count;  // at least 1
    Noise noise{};
    // Bit id % 32 of word id / 32 says whether the logit of token `id` can pass. Null if every logit can.
    const std::uint32_t* allowed = nullptr;
};

struct Candidate {
    float logit;
    std::int32_t id;
    // Bounds of logit + noise; mean nothing without noise.
    float least_score = 0.0f, greatest_score = 0.0f;
    // Larger logits come first; of equal logits, the lowest id.
    bool before(const Candidate& other) const { return logit != other.logit ? logit > other.logit : id < other.id; }
};

// Collects the logits of one row that pass a filter, in one pass and in any order. Each thread has a collector of its
// own for each row; one thread merges them at the end.
//
// Without noise it keeps the `count` first candidates. With noise it keeps all that it is given as long as there is
// room, the largest at least: each logit that is known exactly helps the sampler to do without the others.
class CandidateCollector {
  public:
    // Forgets everything, and collects for this filter. Allocates on the first call only.
    void start(const LogitFilter& filter);

    void add(Candidate candidate);
    void merge(const CandidateCollector& other);

    std::size_t count() const { return count_; }
    // Logits below it do not pass. It rises while the collector collects.
    float threshold() const;
    // A sum of logit and noise below it is not the largest. It rises as well.
    float score_threshold() const { return best_score_; }
    // Whether there was no room for all logits that pass a filter with noise.
    bool overflowed() const { return overflowed_; }
    // In no particular order.
    const std::vector<Candidate>& candidates() const { return candidates_; }

  private:
    void shrink();

    std::size_t count_ = 1;
    bool noisy_ = false, overflowed_ = false;
    float largest_ = 0.0f, best_score_ = 0.0f;
    std::vector<Candidate> candidates_;  // without noise, a heap whose front is the last to pass
};

}  // namespace bitnet
