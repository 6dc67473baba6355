// The output head: normed hidden states in, logits out, whole rows or the greatest of them.
//
// The greatest are found without reading most of the weights: a screen in low bits gives each logit a bound, and only
// those whose bound reaches what was found so far are computed, in bfloat16 and in the same order of sums as a whole
// row.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "decoder/model.hpp"
#include "head/screen.hpp"
#include "runtime/profile.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

// Which logits of a row are wanted; see bitnet_tt.backends.base.Cut.
struct Cut {
    std::size_t count;  // 0 for all
    float margin;       // infinite for all
    float temperature;  // above 0 if the rest is to be summed up
};

struct Found {
    float logit;
    std::int32_t id;
    // Of equal logits the lowest id comes first.
    bool before(const Found& other) const { return logit != other.logit ? logit > other.logit : id < other.id; }
};

// Collects logits that pass a cut, as far as is known by then, and sums up the rest.
class Greatest {
  public:
    void start(Cut cut);
    void add(Found found);
    // Counts a logit that is at most so great among those that do not pass.
    void leave(float bound);
    // Counts a sum of exp((logit - best) / temperature) among them.
    void leave(double sum, float best);
    void merge(const Greatest& other);
    // Logits below it do not pass.
    float threshold() const;
    // More pass than are kept.
    bool overflown() const { return overflown_; }
    const std::vector<Found>& found() const { return found_; }
    // At most the sum of exp((logit - greatest) / temperature) over all that were left.
    double rest();

  private:
    void keep_passing();

    Cut cut_{};
    float best_ = 0.0f;
    bool overflown_ = false;
    std::vector<Found> found_;             // with a count a heap, the last of them first
    double rest_ = 0.0, reference_ = 0.0;  // the sum of exp((logit - reference) / temperature)
};

class Head {
  public:
    // Most logits of a row that are kept; a row of which more pass its cut is computed as a whole.
    static constexpr std::size_t kMost = 4096;

    Head(const Model& model, const Kernels& kernels, ThreadTeam& team, std::size_t thread_work, Profile& profile);

    // Room for the normed hidden states [rows, hidden] of the next step.
    float* start(std::size_t rows);

    std::size_t rows() const { return rows_; }

    // Logits [count, vocab] of rows from `first` on.
    void logits(std::size_t first, std::size_t count, float* out);

    // What passes the cuts.
    struct Passed {
        std::int32_t* ids;     // [rows, kMost], rising
        float* logits;         // [rows, kMost]
        std::int32_t* counts;  // [rows]: how many, -1 where it takes the whole row to know
        float* rests;          // [rows]: at least the sum of exp((logit - greatest) / temperature) over all others
    };
    // Throws DeviceError if there is no memory for the screen, which the first call makes.
    void greatest(const Cut* cuts, const Passed& passed);

    // Bytes of weights that `greatest` has read for the last step.
    std::size_t bytes_read() const;

    // Whether the table came to lie in memory, at least in part, if it is in a file.
    bool touched() const { return touched_; }

    // Memory of the screen; 0 before the first call of `greatest`.
    std::size_t screen_bytes() const { return screened_ ? Screen::bytes(shape_.vocab, shape_.hidden) : 0; }

    // Logits computed from the weights themselves since `start`; of a row that is computed as a whole, all.
    std::size_t computed() const { return computed_; }

  private:
    enum class Task { logits, pack, screen };
    static constexpr std::size_t kTogether = 4;  // logits are computed
    static constexpr std::size_t kBuffered = Screen::kLanes;
    static constexpr std::size_t kRead = 1024;      // rows of a step that each thread reads from the file
    static constexpr std::size_t kDeferred = 4096;  // a row's logits at most that are computed later, if at all
    // For so many rows the screen takes as long to read as to multiply, also with twice the values.
    static constexpr std::size_t kFewRows = 3;
    struct Waiting {
        std::int32_t ids[kTogether];
        std::size_t count = 0;
    };
    struct Deferred {
        float upper;  // bound of the logit
        std::int32_t id;
    };
    struct alignas(64) Worker {
        std::vector<Greatest> rows;
        std::vector<Waiting> waiting;
        std::vector<std::vector<Deferred>> deferred;
        std::vector<ScreenBounds> bounds;
        Buffer<ScreenSums> sums;
        Buffer<std::uint8_t> weights;  // kBuffered rows of the table, if it is in a file
        std::vector<ScreenQuery> queries;
        std::size_t rescored = 0;
        bool touched = false;  // the table
    };
    struct alignas(64) Threshold {
        std::atomic<float> value, best;
    };

    // What the threads do.
    friend ThreadTeam;
    std::size_t begin(std::size_t thread, std::size_t phase);
    void run(std::size_t thread, std::size_t phase, std::size_t item);

    void share_out(Task task, std::size_t total, std::size_t grain, std::size_t cost);
    bool few_rows() const { return rows_ <= kFewRows; }
    void whole_rows(Worker& worker, Range range);
    void quantize_row(std::size_t row);
    double quantize(std::size_t index, const float* x, float* left);
    void screen_block(Worker& worker, std::size_t block);
    void rescore(Worker& worker, std::size_t row, std::size_t block);
    void settle(Worker& worker, std::size_t row);
    void wait(Worker& worker, std::size_t row, std::int32_t id);
    void flush(Worker& worker, std::size_t row);
    // Whether a row of the table is read from its file: of so many a step that it takes no time to speak of. More than
    // that, and the table might as well be in memory.
    bool reads(const Worker& worker) const { return model_.head.in_file() && worker.rescored < kRead; }
    void fetch(const Worker& worker, std::int32_t id) const;
    void compute(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count);
    void grow_buffers();
    void grow_rows();
    void collect(std::size_t row, const Passed& passed);

    const Model& model_;
    const Shape& shape_ = model_.shape;
    const Kernels& kernels_;
    const std::size_t thread_work_;
    ThreadTeam& team_;
    Profile& profile_;

    std::size_t rows_ = 0, computed_ = 0;
    Buffer<float> normed_;
    Screen screen_;
    bool screened_ = false;
    bool touched_ = false, whole_before_ = false;
    std::atomic<bool> finite_{true};

    // The task at hand.
    Task task_{};
    std::size_t total_ = 0, grain_ = 1, items_ = 0;
    std::size_t first_ = 0, count_ = 0;
    float* out_ = nullptr;

    // The rows at hand as the screen takes them.
    std::vector<Worker> workers_;
    std::unique_ptr<Threshold[]> thresholds_;
    std::size_t row_capacity_ = 0;
    std::vector<ScreenQuery> queries_;
    std::vector<Found> passed_;
    // In 8 bits, and after all rows, if they are few, what that leaves of them.
    Buffer<std::int8_t> values_;
    Buffer<float> scales_;
    Buffer<std::int32_t> sums_;
    Buffer<float> left_;
    std::size_t screened_bytes_ = 0;
};

}  // namespace bitnet
