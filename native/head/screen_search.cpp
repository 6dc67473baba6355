// Head::candidates, row by row and block by block.
//
// All threads share one threshold for each row: logits below it do not pass. It rises as larger logits are found. A
// thread takes a block of the screen and gets an upper bound and an estimate of each of its 64 logits. A logit whose
// bound is below the threshold is dropped. The others are computed from the bfloat16 weights: at once if the estimate
// reaches the threshold too, because such a logit probably raises it; at the end of the search otherwise, because by
// then the threshold has risen and rules most of them out. For top-k, each thread raises the threshold to the k-th
// largest logit of its own; at the end they put their logits together, which raises it further.
//
// If the filter has noise, a second threshold is the largest sum of logit and noise so far. A logit is dropped only if
// its bounds are below both. The bounds of all logits are kept: the sampler may ask for them.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "head/head.hpp"
#include "head/noise_range.hpp"

namespace bitnet {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Rounds an upper bound to float32 so that it remains one.
float round_bound_up(double bound) { return static_cast<float>(bound * 1.000001); }

// Sets `value` to the larger of itself and `candidate`.
void raise(std::atomic<float>& value, float candidate) {
    float known = value.load(std::memory_order_relaxed);
    while (known < candidate && !value.compare_exchange_weak(known, candidate, std::memory_order_relaxed)) {
    }
}

}  // namespace

// Quantises the rows and resets all state. Returns false if no bound can be given, because weights or hidden states are
// not finite.
bool Head::prepare_search(const LogitFilter* filters) {
    if (rows_ > row_capacity_) grow_search(rows_);
    bool bounded = finite_.load();
    for (std::size_t row = 0; row < rows_; ++row) {
        quantize_row(row);
        bounded = bounded && std::isfinite(queries_[row].norm) && std::isfinite(queries_[row].unit) &&
                  std::isfinite(queries_[row].fine_unit);
        progress_[row].threshold.store(-kInfinity);
        progress_[row].score_threshold.store(-kInfinity);
        queries_[row].noise = filters[row].noise;
        uppers_[row].resize(filters[row].noise.scale > 0.0f ? shape_.vocab : 0);
        allowed_[row] = filters[row].allowed;
        for (Worker& worker : workers_) worker.collectors[row].start(filters[row]);
    }
    for (Worker& worker : workers_) worker.queries = queries_;
    return bounded;
}

void Head::grow_search(std::size_t rows) {
    row_capacity_ = 0;  // stays 0 if a buffer throws: then not all of them have grown
    const std::size_t quantized = 2 * rows;
    values_.grow(quantized * round_up(shape_.hidden, 64));
    scales_.grow(quantized);
    sums_.grow(quantized);
    residual_.grow(shape_.hidden);
    queries_.resize(rows);
    allowed_.resize(rows);
    uppers_.resize(rows);
    sorted_.reserve(kMaxCandidates + 1);
    best_.reserve(workers_.size() * kMaxCandidates);
    progress_ = std::make_unique<Progress[]>(rows);
    for (Worker& worker : workers_) {
        worker.collectors.resize(rows);
        worker.pending.resize(rows);
        worker.deferred.resize(rows);
        for (std::vector<Deferred>& deferred : worker.deferred) deferred.reserve(kMaxDeferred);
        worker.bounds.resize(rows);
        worker.sums.grow(quantized);
        worker.queries.resize(rows);
    }
    row_capacity_ = rows;
}

// Quantises x as row `index` of values_, writes x minus its quantised form to `residual` (which may be x), and returns
// the residual's Euclidean norm.
double Head::quantize(std::size_t index, const float* x, float* residual) {
    std::int8_t* values = values_.data() + index * round_up(shape_.hidden, 64);
    kernels_.quantize(x, shape_.hidden, values, &scales_[index], &sums_[index]);
    const double unit = 1.0f / scales_[index];  // rounded to float32 before it is widened: the screen uses that number
    double squares = 0.0;
    for (std::size_t i = 0; i < shape_.hidden; ++i) {
        const double difference = static_cast<double>(x[i]) - unit * values[i];
        residual[i] = static_cast<float>(difference);
        squares += difference * difference;
    }
    return std::sqrt(squares);
}

// Quantises a row, and bounds how much that and float32 sums can change its logits.
void Head::quantize_row(std::size_t row) {
    const std::size_t hidden = shape_.hidden, fine_row = rows_ + row;
    const float* x = normed_.data() + row * hidden;
    double squares = 0.0;
    for (std::size_t i = 0; i < hidden; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    double residual = quantize(row, x, residual_.data());
    if (fine()) residual = quantize(fine_row, residual_.data(), residual_.data());
    // The sum of a logit has 16 lanes. It rounds once for each element of a lane and a few times more, each time by at
    // most 2^-24 of |w| * |x|. Estimates and bounds round fewer than 64 times. Hence hidden / 16 + 72.
    const double norm = std::sqrt(squares), sums = (static_cast<double>(hidden) / 16 + 72) * 0x1p-24;
    queries_[row] = {1.0f / scales_[row],
                     fine() ? 1.0f / scales_[fine_row] : 0.0f,
                     round_bound_up(norm + residual),
                     round_bound_up(residual + sums * norm),
                     -kInfinity,
                     {},
                     -kInfinity};
}

// Bounds the logits of a block for all rows, and computes those that may reach the rows' thresholds, or sets them
// aside.
void Head::screen_block(Worker& worker, std::size_t index) {
    const ScreenBlock block = screen_.block(index);
    for (std::size_t row = 0; row < rows_; ++row) {
        worker.queries[row].threshold = progress_[row].threshold.load(std::memory_order_relaxed);
        worker.queries[row].score_threshold = progress_[row].score_threshold.load(std::memory_order_relaxed);
    }
    const Activations x{values_.data(), round_up(shape_.hidden, 64), scales_.data(), sums_.data(),
                        fine() ? 2 * rows_ : rows_};
    kernels_.screen_bounds(block, x, rows_, worker.queries.data(), worker.sums.data(), worker.bounds.data());
    for (std::size_t row = 0; row < rows_; ++row) {
        if (!uppers_[row].empty()) keep_bounds(worker.bounds[row], index, uppers_[row].data());
        if (worker.bounds[row].reached != 0) sort_reached(worker, row, index);
    }
}

// Copies the upper bounds of a block to the places of their tokens in `uppers` [vocab].
void Head::keep_bounds(const ScreenBounds& bounds, std::size_t block, float* uppers) const {
    for (std::size_t field = 0; field < 4; ++field) {
        const std::int32_t first = screen_.id(block, field, 0);
        std::size_t count = 0;
        while (count < kBlockRows && screen_.id(block, field, count) >= 0) ++count;
        if (count > 0) std::copy_n(bounds.upper + field * kBlockRows, count, uppers + first);
    }
}

// Sorts the block's logits whose bound reaches the threshold by their estimate: those that reach it too are computed
// soon, the others are deferred.
void Head::sort_reached(Worker& worker, std::size_t row, std::size_t block) {
    compute_pending(worker, row);  // from the block before: the prefetch of their weights is done by now
    const ScreenBounds& bounds = worker.bounds[row];
    // Logits that the filter does not allow end here.
    const std::uint32_t* mask = allowed_[row];
    const std::uint64_t reached = mask == nullptr ? bounds.reached : bounds.reached & screen_.allowed(block, mask);
    // One round for each set bit, lowest first.
    for (std::uint64_t bits = reached; bits != 0; bits &= bits - 1) {
        const std::size_t lane = static_cast<std::size_t>(__builtin_ctzll(bits));
        const std::int32_t id = screen_.id(block, lane / kBlockRows, lane % kBlockRows);
        if (id < 0) continue;
        if ((bounds.likely >> lane & 1) != 0) {
            add_pending(worker, row, id);
        } else {
            if (worker.deferred[row].size() == kMaxDeferred) {
                drop_deferred(worker, row);
                if (worker.deferred[row].size() > kMaxDeferred / 2) compute_deferred(worker, row);
            }
            worker.deferred[row].push_back({bounds.upper[lane], noisy(row) ? bounds.scores[lane] : -kInfinity, id});
        }
    }
}

// Raises the threshold of a row to the count-th largest logit that all threads together have found. During the search
// each thread only knows the count-th largest of its own.
void Head::share_threshold(std::size_t row) {
    if (noisy(row) || workers_.size() == 1) return;
    best_.clear();
    for (const Worker& worker : workers_)
        for (const Candidate& candidate : worker.collectors[row].candidates()) best_.push_back(candidate.logit);
    const std::size_t count = workers_[0].collectors[row].count();
    if (best_.size() < count) return;
    const auto last = best_.begin() + static_cast<std::ptrdiff_t>(count - 1);
    std::nth_element(best_.begin(), last, best_.end(), std::greater<>());
    raise(progress_[row].threshold, *last);
}

// Drops the deferred logits whose bound no longer reaches the threshold.
void Head::drop_deferred(Worker& worker, std::size_t row) {
    std::vector<Deferred>& deferred = worker.deferred[row];
    const float threshold = progress_[row].threshold.load(std::memory_order_relaxed);
    const float score_threshold =
        noisy(row) ? progress_[row].score_threshold.load(std::memory_order_relaxed) : kInfinity;
    const auto passing = std::partition(deferred.begin(), deferred.end(), [&](const Deferred& logit) {
        return logit.upper >= threshold || logit.score >= score_threshold;
    });
    deferred.erase(passing, deferred.end());
}

// Computes the deferred logits whose bound still reaches the threshold.
void Head::compute_deferred(Worker& worker, std::size_t row) {
    compute_pending(worker, row);
    drop_deferred(worker, row);
    std::vector<Deferred>& deferred = worker.deferred[row];
    // While one group of logits is computed, the weights of the next group are on their way.
    const auto prefetch_group = [&](std::size_t begin) {
        for (std::size_t i = begin; i < std::min(begin + kLogitsPerCall, deferred.size()); ++i)
            prefetch(worker, deferred[i].id);
    };
    prefetch_group(0);
    for (std::size_t begin = 0; begin < deferred.size(); begin += kLogitsPerCall) {
        prefetch_group(begin + kLogitsPerCall);
        const std::size_t count = std::min(kLogitsPerCall, deferred.size() - begin);
        std::int32_t ids[kLogitsPerCall];
        for (std::size_t i = 0; i < count; ++i) ids[i] = deferred[begin + i].id;
        compute(worker, row, ids, count);
    }
    deferred.clear();
}

// Sets a logit aside until there are kLogitsPerCall of them or a later block has some, and prefetches its weights.
void Head::add_pending(Worker& worker, std::size_t row, std::int32_t id) {
    Pending& pending = worker.pending[row];
    pending.ids[pending.count++] = id;
    prefetch(worker, id);
    if (pending.count == kLogitsPerCall) compute_pending(worker, row);
}

void Head::compute_pending(Worker& worker, std::size_t row) {
    Pending& pending = worker.pending[row];
    if (pending.count > 0) compute(worker, row, pending.ids, pending.count);
    pending.count = 0;
}

// Asks the processor to load the weights of a logit. It cannot foresee this: single rows lie anywhere in the table.
void Head::prefetch(const Worker& worker, std::int32_t id) const {
    if (reads_file(worker)) return;
    const std::uint8_t* weights = model_.head.floats.at(static_cast<std::size_t>(id));
    for (std::size_t i = 0; i < 2 * shape_.hidden; i += 64) __builtin_prefetch(weights + i, 0, 2);
}

// Computes up to kLogitsPerCall logits from the bfloat16 weights, collects them, and raises the row's thresholds.
void Head::compute(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count) {
    CandidateCollector& collector = worker.collectors[row];
    float logits[kLogitsPerCall];
    compute_single(worker, row, ids, count, logits);
    for (std::size_t i = 0; i < count; ++i) {
        const ScoreRange score = noisy(row) ? score_range(queries_[row].noise, logits[i], ids[i]) : ScoreRange{};
        collector.add({logits[i], ids[i], score.least, score.greatest});
    }
    raise(progress_[row].threshold, collector.threshold());
    raise(progress_[row].score_threshold, collector.score_threshold());
}

// Merges what the threads found of a row and writes what passes, in the order of the ids.
void Head::write_candidates(std::size_t row, const CandidateRows& out) {
    CandidateCollector& all = workers_[0].collectors[row];
    for (std::size_t i = 1; i < workers_.size(); ++i) all.merge(workers_[i].collectors[row]);
    out.counts[row] = -1;
    if (all.overflowed()) return;
    sorted_ = all.candidates();
    std::sort(sorted_.begin(), sorted_.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
    out.counts[row] = static_cast<std::int32_t>(sorted_.size());
    for (std::size_t i = 0; i < sorted_.size(); ++i) {
        out.ids[row * kMaxCandidates + i] = sorted_[i].id;
        out.logits[row * kMaxCandidates + i] = sorted_[i].logit;
    }
}

void Head::upper_bounds(std::size_t row, float* out) const { std::copy(uppers_[row].begin(), uppers_[row].end(), out); }

}  // namespace bitnet
