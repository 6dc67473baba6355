#include "head/head.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitnet {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A bound that stays one when it is rounded to float32.
float at_least(double bound) { return static_cast<float>(bound * 1.000001); }

void raise(std::atomic<float>& value, float to) {
    float known = value.load(std::memory_order_relaxed);
    while (known < to && !value.compare_exchange_weak(known, to, std::memory_order_release)) {
    }
}

}  // namespace

void Greatest::start(Cut cut) {
    cut_ = cut;
    best_ = -kInfinity;
    overflown_ = false;
    rest_ = 0.0;
    reference_ = -kInfinity;
    found_.clear();
    found_.reserve(Head::kMost + 1);
}

float Greatest::threshold() const {
    float least = -kInfinity;
    if (cut_.margin < kInfinity && best_ > -kInfinity) least = std::nextafter(best_ - cut_.margin, -kInfinity);
    if (cut_.count > 0 && found_.size() == cut_.count) least = std::max(least, found_.front().logit);
    return least;
}

void Greatest::add(Found found) {
    if (overflown_) return;
    if (found.logit < threshold()) return leave(found.logit);
    best_ = std::max(best_, found.logit);
    const auto before = [](const Found& a, const Found& b) { return a.before(b); };
    if (cut_.count > 0) {
        if (found_.size() == cut_.count) {
            if (!found.before(found_.front())) return leave(found.logit);
            std::pop_heap(found_.begin(), found_.end(), before);
            leave(found_.back().logit);
            found_.pop_back();
        }
        found_.push_back(found);
        std::push_heap(found_.begin(), found_.end(), before);
        return;
    }
    found_.push_back(found);
    if (found_.size() > Head::kMost) keep_passing();
}

// Makes room by the threshold of now; too little, and the row is for whoever computes it whole.
void Greatest::keep_passing() {
    const float least = threshold();
    const auto passing =
        std::partition(found_.begin(), found_.end(), [&](const Found& found) { return found.logit >= least; });
    for (auto found = passing; found != found_.end(); ++found) leave(found->logit);
    found_.erase(passing, found_.end());
    overflown_ = overflown_ || found_.size() > Head::kMost / 2;
}

void Greatest::leave(float bound) { leave(1.0, bound); }

void Greatest::leave(double sum, float best) {
    if (cut_.temperature <= 0.0f || best == -kInfinity) return;
    const double reference = static_cast<double>(best), temperature = static_cast<double>(cut_.temperature);
    if (reference > reference_) {
        rest_ *= std::exp((reference_ - reference) / temperature);
        reference_ = reference;
    }
    rest_ += sum * std::exp((reference - reference_) / temperature);
}

void Greatest::merge(const Greatest& other) {
    for (const Found& found : other.found_) add(found);
    overflown_ = overflown_ || other.overflown_;
    leave(other.rest_, static_cast<float>(other.reference_));
}

double Greatest::rest() {
    if (cut_.count == 0) keep_passing();
    if (cut_.temperature <= 0.0f) return 0.0;
    const double sum =
        rest_ > 0.0 ? rest_ * std::exp((reference_ - static_cast<double>(best_)) / cut_.temperature) : 0.0;
    return sum + 1e-37;  // float32 holds it, and so no sum becomes zero
}

Head::Head(const Model& model, const Kernels& kernels, ThreadTeam& team, std::size_t thread_work, Profile& profile)
    : model_(model),
      kernels_(kernels),
      thread_work_(thread_work),
      team_(team),
      profile_(profile),
      workers_(team.size()) {}

float* Head::start(std::size_t rows) {
    normed_.grow(rows * shape_.hidden);
    rows_ = rows;
    computed_ = 0;
    return normed_.data();
}

void Head::share_out(Task task, std::size_t total, std::size_t grain, std::size_t cost) {
    task_ = task;
    total_ = total;
    grain_ = grain;
    const std::size_t threads = std::min(std::max<std::size_t>(cost / thread_work_, 1), team_.size());
    const std::size_t most = (total + grain - 1) / grain;
    items_ = threads == 1 ? 1 : std::min(round_up(cost / ((thread_work_ + 3) / 4), threads), most);
    team_.run(*this, task == Task::screen ? 2 : 1, threads);
}

// After the screen a phase for what the threads deferred.
std::size_t Head::begin(std::size_t, std::size_t phase) { return phase == 0 ? items_ : workers_.size(); }

void Head::run(std::size_t thread, std::size_t phase, std::size_t item) {
    const Profile::Work work(profile_, thread);
    if (phase == 1) {
        for (std::size_t row = 0; row < rows_; ++row) settle(workers_[item], row);
        return;
    }
    const Range range = part(total_, grain_, item, items_);
    if (task_ == Task::logits) return whole_rows(workers_[thread], range);
    for (std::size_t block = range.begin; block < range.end; ++block) {
        if (task_ == Task::screen) {
            screen_block(workers_[thread], block);
        } else if (!screen_.pack(kernels_, model_.head, block, workers_[thread].weights.data())) {
            finite_.store(false);
        }
    }
}

// The first time from the file, as a step that needs all logits may be the only one.
void Head::whole_rows(Worker& worker, Range range) {
    const float* x = normed_.data() + first_ * shape_.hidden;
    const std::size_t most = whole_before_ ? range.end - range.begin : kBuffered;
    for (std::size_t begin = range.begin; begin < range.end; begin += most) {
        const std::size_t rows = std::min(most, range.end - begin);
        const std::uint8_t* weights =
            whole_before_ ? model_.head.at(begin) : model_.head.read(begin, rows, worker.weights.data());
        kernels_.logits(weights, shape_.hidden, rows, x, shape_.hidden, count_, out_ + begin, shape_.vocab);
    }
}

void Head::logits(std::size_t first, std::size_t count, float* out) {
    if (count == 0) return;
    first_ = first;
    count_ = count;
    out_ = out;
    grow_buffers();
    computed_ += count * shape_.vocab;
    share_out(Task::logits, shape_.vocab, 4, 2 * shape_.vocab * shape_.hidden * (count + 15) / 16);
    touched_ = touched_ || whole_before_;
    whole_before_ = true;
}

void Head::greatest(const Cut* cuts, const Passed& passed) {
    if (!screened_) {
        screen_ = Screen(shape_.vocab, shape_.hidden);
        grow_buffers();
        share_out(Task::pack, screen_.blocks(), 1, 2 * shape_.vocab * shape_.hidden);
        screened_ = true;
    }
    if (rows_ > row_capacity_) grow_rows();
    bool sure = finite_.load();
    for (std::size_t row = 0; row < rows_; ++row) {
        quantize_row(row);
        sure = sure && std::isfinite(queries_[row].norm) && std::isfinite(queries_[row].unit) &&
               std::isfinite(queries_[row].fine_unit);
        thresholds_[row].value.store(-kInfinity);
        thresholds_[row].best.store(-kInfinity);
        queries_[row].inverse_temperature = cuts[row].temperature > 0.0f ? 1.0f / cuts[row].temperature : 0.0f;
        for (Worker& worker : workers_) worker.rows[row].start(cuts[row]);
    }
    for (Worker& worker : workers_) {
        worker.rescored = 0;
        worker.queries = queries_;
    }
    screened_bytes_ = sure ? Screen::bytes(shape_.vocab, shape_.hidden) : 0;
    if (!sure) {
        std::fill_n(passed.counts, rows_, -1);
        return;
    }
    share_out(Task::screen, screen_.blocks(), 1, Screen::bytes(shape_.vocab, shape_.hidden) * (rows_ + 7) / 8);
    for (std::size_t row = 0; row < rows_; ++row) collect(row, passed);
    for (const Worker& worker : workers_) {
        computed_ += worker.rescored;
        touched_ = touched_ || worker.touched;
    }
}

void Head::grow_buffers() {
    if (!model_.head.in_file()) return;
    for (Worker& worker : workers_) worker.weights.grow(kBuffered * model_.head.row_bytes());
}

void Head::grow_rows() {
    row_capacity_ = 0;  // until all have grown
    const std::size_t quantized = 2 * rows_;
    values_.grow(quantized * round_up(shape_.hidden, 64));
    scales_.grow(quantized);
    sums_.grow(quantized);
    left_.grow(shape_.hidden);
    queries_.resize(rows_);
    thresholds_ = std::make_unique<Threshold[]>(rows_);
    for (Worker& worker : workers_) {
        worker.rows.resize(rows_);
        worker.waiting.resize(rows_);
        worker.deferred.resize(rows_);
        for (std::vector<Deferred>& deferred : worker.deferred) deferred.reserve(kDeferred);
        worker.bounds.resize(rows_);
        worker.sums.grow(quantized);
        worker.queries.resize(rows_);
    }
    row_capacity_ = rows_;
}

// Quantises x as row `index` of the values; what that leaves of it goes to `left`, and its norm is returned.
double Head::quantize(std::size_t index, const float* x, float* left) {
    std::int8_t* values = values_.data() + index * round_up(shape_.hidden, 64);
    kernels_.quantize(x, shape_.hidden, values, &scales_[index], &sums_[index]);
    const double unit = 1.0f / scales_[index];  // of float32, as the screen multiplies with it
    double squares = 0.0;
    for (std::size_t i = 0; i < shape_.hidden; ++i) {
        const double rest = static_cast<double>(x[i]) - unit * values[i];
        left[i] = static_cast<float>(rest);
        squares += rest * rest;
    }
    return std::sqrt(squares);
}

// Quantises a row and bounds what that and float32 sums can change.
void Head::quantize_row(std::size_t row) {
    const std::size_t hidden = shape_.hidden, fine = rows_ + row;
    const float* x = normed_.data() + row * hidden;
    double squares = 0.0;
    for (std::size_t i = 0; i < hidden; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    double left = quantize(row, x, left_.data());
    if (few_rows()) left = quantize(fine, left_.data(), left_.data());
    // A row's sum rounds once for each element of its lane and a few times more, by 2^-24 of |w| * |x| at most; so do
    // estimates and bounds, by less than 64 times that.
    const double norm = std::sqrt(squares), sums = (static_cast<double>(hidden) / 16 + 72) * 0x1p-24;
    queries_[row] = {1.0f / scales_[row], few_rows() ? 1.0f / scales_[fine] : 0.0f,
                     at_least(norm),      at_least(left + sums * norm),
                     -kInfinity,          0.0f,
                     -kInfinity};
}

void Head::screen_block(Worker& worker, std::size_t index) {
    const ScreenBlock block = screen_.block(index);
    for (std::size_t row = 0; row < rows_; ++row) {
        // In this order: where there is a threshold, its best is known.
        worker.queries[row].threshold = thresholds_[row].value.load(std::memory_order_acquire);
        worker.queries[row].largest = thresholds_[row].best.load(std::memory_order_relaxed);
    }
    const Activations x{values_.data(), round_up(shape_.hidden, 64), scales_.data(), sums_.data(),
                        few_rows() ? 2 * rows_ : rows_};
    kernels_.screen_bounds(block, x, rows_, worker.queries.data(), worker.sums.data(), worker.bounds.data());
    for (std::size_t row = 0; row < rows_; ++row) {
        worker.rows[row].leave(worker.bounds[row].dropped_mass, worker.queries[row].largest);
        if (worker.bounds[row].reached != 0) rescore(worker, row, index);
    }
}

// What the codes put at the threshold is computed soon, as it probably raises that; what only its bound does, when the
// threshold has risen as far as it will.
void Head::rescore(Worker& worker, std::size_t row, std::size_t block) {
    flush(worker, row);  // what a block before set aside, by now fetched
    const ScreenBounds& bounds = worker.bounds[row];
    for (std::uint64_t left = bounds.reached; left != 0; left &= left - 1) {
        const std::size_t lane = static_cast<std::size_t>(__builtin_ctzll(left));
        const std::int32_t id = screen_.id(block, lane / Screen::kBlockRows, lane % Screen::kBlockRows);
        if (id < 0) continue;
        if ((bounds.likely >> lane & 1) != 0) {
            wait(worker, row, id);
        } else {
            if (worker.deferred[row].size() == kDeferred) settle(worker, row);
            worker.deferred[row].push_back({bounds.upper[lane], id});
        }
    }
}

// Computes what was deferred and may still reach the threshold.
void Head::settle(Worker& worker, std::size_t row) {
    flush(worker, row);
    std::vector<Deferred>& deferred = worker.deferred[row];
    const float threshold = thresholds_[row].value.load(std::memory_order_acquire);
    const auto passing = std::partition(deferred.begin(), deferred.end(),
                                        [&](const Deferred& logit) { return logit.upper >= threshold; });
    for (auto logit = passing; logit != deferred.end(); ++logit) worker.rows[row].leave(logit->upper);
    deferred.erase(passing, deferred.end());
    const auto fetch_some = [&](std::size_t begin) {
        for (std::size_t i = begin; i < std::min(begin + kTogether, deferred.size()); ++i)
            fetch(worker, deferred[i].id);
    };
    fetch_some(0);
    for (std::size_t begin = 0; begin < deferred.size(); begin += kTogether) {
        fetch_some(begin + kTogether);
        const std::size_t count = std::min(kTogether, deferred.size() - begin);
        std::int32_t ids[kTogether];
        for (std::size_t i = 0; i < count; ++i) ids[i] = deferred[begin + i].id;
        compute(worker, row, ids, count);
    }
    deferred.clear();
}

// Sets a logit aside until there are four, or until the next block.
void Head::wait(Worker& worker, std::size_t row, std::int32_t id) {
    Waiting& waiting = worker.waiting[row];
    waiting.ids[waiting.count++] = id;
    fetch(worker, id);
    if (waiting.count == kTogether) flush(worker, row);
}

// Computes the logits set aside.
void Head::flush(Worker& worker, std::size_t row) {
    Waiting& waiting = worker.waiting[row];
    if (waiting.count > 0) compute(worker, row, waiting.ids, waiting.count);
    waiting.count = 0;
}

// Asks for the weights of a logit ahead of time: they lie where the processor does not expect them.
void Head::fetch(const Worker& worker, std::int32_t id) const {
    if (reads(worker)) return;
    const std::uint8_t* weights = model_.head.at(static_cast<std::size_t>(id));
    for (std::size_t i = 0; i < 2 * shape_.hidden; i += 64) __builtin_prefetch(weights + i, 0, 2);
}

// Computes logits; they raise the threshold.
void Head::compute(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count) {
    Greatest& greatest = worker.rows[row];
    float logits[kTogether];
    const std::uint8_t* weights[kTogether] = {};
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t id = static_cast<std::size_t>(ids[i]), size = model_.head.row_bytes();
        weights[i] = reads(worker) ? model_.head.read(id, 1, worker.weights.data() + i * size) : model_.head.at(id);
    }
    worker.touched = worker.touched || !reads(worker);
    kernels_.logits_of(weights, shape_.hidden, count, normed_.data() + row * shape_.hidden, logits);
    for (std::size_t i = 0; i < count; ++i) {
        greatest.add({logits[i], ids[i]});
        raise(thresholds_[row].best, logits[i]);
    }
    raise(thresholds_[row].value, greatest.threshold());
    worker.rescored += count;
}

// What passes the cut of all that the threads found.
void Head::collect(std::size_t row, const Passed& passed) {
    Greatest& all = workers_[0].rows[row];
    for (std::size_t i = 1; i < workers_.size(); ++i) all.merge(workers_[i].rows[row]);
    passed.rests[row] = at_least(all.rest());
    passed.counts[row] = -1;
    if (all.overflown()) return;
    const float least = all.threshold();
    passed_.clear();
    for (const Found& found : all.found())
        if (found.logit >= least) passed_.push_back(found);
    std::sort(passed_.begin(), passed_.end(), [](const Found& a, const Found& b) { return a.id < b.id; });
    passed.counts[row] = static_cast<std::int32_t>(passed_.size());
    for (std::size_t i = 0; i < passed_.size(); ++i) {
        passed.ids[row * kMost + i] = passed_[i].id;
        passed.logits[row * kMost + i] = passed_[i].logit;
    }
}

std::size_t Head::bytes_read() const {
    std::size_t bytes = screened_bytes_;
    for (const Worker& worker : workers_) bytes += worker.rescored * 2 * shape_.hidden;
    return bytes;
}

}  // namespace bitnet
