// The logits of a row that pass a filter, and an upper bound on the probability mass of the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet {

// The largest number of candidates of a row. If too many logits pass the filter, the caller computes the whole row.
constexpr std::size_t kMaxCandidates = 4096;

// Says which logits of a row pass; see bitnet_tt.backends.base.LogitFilter.
struct LogitFilter {
    std::size_t count;       // 0 for no limit
    float margin;            // infinite for no limit
    float mass_temperature;  // above 0 if an upper bound on the mass of the dropped logits is wanted
    // Bit id % 32 of word id / 32 says whether the logit of token `id` can pass. Null if every logit can.
    const std::uint32_t* allowed = nullptr;
};

struct Candidate {
    float logit;
    std::int32_t id;
    // Larger logits come first; of equal logits, the lowest id.
    bool before(const Candidate& other) const { return logit != other.logit ? logit > other.logit : id < other.id; }
};

// Collects the logits of one row that pass a filter, in one pass and in any order. While it collects, it keeps every
// logit that can still pass. Each thread has a collector of its own for each row; one thread merges them at the end.
class CandidateCollector {
  public:
    // Forgets everything, and collects for this filter. Allocates on the first call only.
    void start(LogitFilter filter);

    void add(Candidate candidate);
    // Adds the mass of a logit that was not computed, but is at most `upper_bound`, to the dropped mass.
    void drop(float upper_bound);
    // Adds a mass of exp((logit - reference) / mass_temperature), summed over several dropped logits.
    void drop(double mass, float reference);
    void merge(const CandidateCollector& other);

    // Logits below it do not pass. It rises while the collector collects.
    float threshold() const;
    // Whether too many logits passed a filter without a count: more than half of kMaxCandidates. Then `candidates` may
    // lack some of them.
    bool overflowed() const { return overflowed_; }
    // In no particular order; some may be below the threshold.
    const std::vector<Candidate>& candidates() const { return candidates_; }
    // An upper bound on the sum of exp((logit - largest) / mass_temperature) over all dropped logits. 0 if the filter
    // does not ask for it. Call it when everything is added: without a count, it first drops what is below the
    // threshold.
    double dropped_mass();

  private:
    void drop_below_threshold();

    LogitFilter filter_{};
    float largest_ = 0.0f;
    bool overflowed_ = false;
    std::vector<Candidate> candidates_;  // if the filter has a count, a heap whose front is the last to pass
    // The sum of exp((logit - mass_reference) / mass_temperature) over the dropped logits. The reference is the largest
    // of them so far, so no exponential overflows.
    double mass_ = 0.0, mass_reference_ = 0.0;
};

}  // namespace bitnet
