// The lm_head: normed hidden states go in, logits come out: whole rows, or only the logits that pass a filter, or the
// logits of listed tokens.
//
// Logits that pass a filter are found without reading most of the weights. A screen, which is a 6-bit copy of the
// weights, gives an upper bound for each logit. Only logits whose bound reaches the current threshold are computed from
// the bfloat16 weights, with the same order of sums as in a whole row, so they have the same bits.
//
// A ternary lm_head (the grouped form) has no screen: all its logits take less time than the screen of one in bfloat16.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "decoder/model.hpp"
#include "head/candidates.hpp"
#include "head/screen.hpp"
#include "runtime/profile.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

// Owns the screen and all scratch memory. It refers to the model, the kernels, the threads and the profile, which must
// outlive it. One thread calls it at a time.
class Head {
  public:
    // A call uses one thread for each `thread_work` bytes of weights that it reads, or the equivalent in
    // multiplications.
    Head(const Model& model, const Kernels& kernels, ThreadTeam& team, std::size_t thread_work, Profile& profile);

    // Begins a step: returns where its normed hidden states [rows, hidden] are to be written before the next call.
    float* start(std::size_t rows);

    std::size_t rows() const { return rows_; }
    // The step's normed hidden states [rows, hidden].
    const float* normed() const { return normed_.data(); }

    // Computes whole rows: logits [count, vocab] of the step's rows first, first + 1, ...
    void logits(std::size_t first, std::size_t count, float* out);

    // Where `candidates` writes. The arrays belong to the caller.
    struct CandidateRows {
        std::int32_t* ids;     // [rows, kMaxCandidates], rising
        float* logits;         // [rows, kMaxCandidates]
        std::int32_t* counts;  // [rows]: how many candidates the row has; -1 if the whole row must be computed
    };
    // Finds the logits of each row of the step that pass its filter; `filters` is [rows]. The first call makes the
    // screen. Throws DeviceError if there is no memory for it. With a ternary lm_head, all whole rows must be computed.
    void candidates(const LogitFilter* filters, const CandidateRows& out);

    // Computes the logits [count] of the tokens `ids` [count] for a row of the step, and reads only their weights.
    void listed(std::size_t row, const std::int32_t* ids, std::size_t count, float* out);

    // Writes an upper bound [vocab] of each logit of a row of the step, if the filter of its last search had noise.
    void upper_bounds(std::size_t row, float* out) const;

    // Bytes of the screen and of bfloat16 weights that `candidates` and `listed` read since `start`.
    std::size_t bytes_read() const;

    // Whether the weights were read through their mapping, so that pages of the file stay in memory.
    bool table_in_memory() const { return table_in_memory_; }

    // Bytes of the screen; 0 before the first call of `candidates`.
    std::size_t screen_bytes() const { return screened_ ? Screen::bytes(shape_.vocab, shape_.hidden) : 0; }

    // How many logits were computed from the bfloat16 weights since `start`. A whole row counts with all its logits.
    std::size_t computed() const { return computed_; }

  private:
    enum class Task { logits, pack, screen, listed, grouped_logits, grouped_listed };

    // Logits of one row that a kernel computes together.
    static constexpr std::size_t kLogitsPerCall = 4;
    // Rows of the table that a thread reads from the file at once.
    static constexpr std::size_t kFileRows = Screen::kLanes;
    // The largest number of rows that each thread reads from the file one by one in a step; so many take little time. A
    // step that needs more touches the mapping, because the table is then better kept in memory.
    static constexpr std::size_t kMaxFileReads = 1024;
    // The largest number of logits of a row that a thread defers: enough for top-k 40 of 128,256 rows on one thread.
    static constexpr std::size_t kMaxDeferred = 16384;
    // Up to this many rows are quantised twice, which makes the bounds tighter. Reading the screen then still takes as
    // long as multiplying.
    static constexpr std::size_t kMaxFineRows = 3;

    // Logits that will be computed when there are kLogitsPerCall of them. Their weights are being prefetched.
    struct Pending {
        std::int32_t ids[kLogitsPerCall];
        std::size_t count = 0;
    };
    // A logit whose upper bound reached the threshold, but whose estimate did not.
    struct Deferred {
        float upper, score;  // of the logit, and of logit + noise
        std::int32_t id;
    };
    // State and scratch of one thread; the vectors have an element for each row of the step.
    struct alignas(64) Worker {
        std::vector<CandidateCollector> collectors;
        std::vector<Pending> pending;
        std::vector<std::vector<Deferred>> deferred;
        std::vector<ScreenBounds> bounds;
        std::vector<ScreenQuery> queries;
        Buffer<ScreenSums> sums;
        Buffer<std::uint8_t> weights;  // kFileRows rows of the table, if it is in a file
        std::size_t rescored = 0;      // logits of single tokens computed in this step
        bool touched_table = false;
    };
    // The thresholds of a row, over all threads: of the logit, and of logit + noise. Both only rise during a search.
    struct alignas(64) Progress {
        std::atomic<float> threshold, score_threshold;
    };

    // ThreadTeam calls these two: see there.
    friend ThreadTeam;
    std::size_t begin(std::size_t thread, std::size_t phase);
    void run(std::size_t thread, std::size_t phase, std::size_t item);

    void share_out(Task task, std::size_t total, std::size_t grain, std::size_t cost);
    void compute_whole_rows(Worker& worker, Range ids);
    void compute_listed(Worker& worker, Range range);
    void compute_single(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count, float* out);
    void grow_file_buffers();
    void make_screen();

    // Logits of a ternary lm_head; grouped_head.cpp.
    void quantize_grouped(std::size_t first, std::size_t count);
    Activations grouped_input() const;
    void compute_grouped(Range byte_rows);
    void compute_grouped_listed(Range range);

    // The search for candidates; screen_search.cpp.
    bool prepare_search(const LogitFilter* filters);
    void grow_search(std::size_t rows);
    bool fine() const { return rows_ <= kMaxFineRows; }
    void quantize_row(std::size_t row);
    double quantize(std::size_t index, const float* x, float* residual);
    void screen_block(Worker& worker, std::size_t block);
    bool noisy(std::size_t row) const { return queries_[row].noise.scale > 0.0f; }
    void keep_bounds(const ScreenBounds& bounds, std::size_t block, float* uppers) const;
    void sort_reached(Worker& worker, std::size_t row, std::size_t block);
    void share_threshold(std::size_t row);
    void drop_deferred(Worker& worker, std::size_t row);
    void compute_deferred(Worker& worker, std::size_t row);
    void add_pending(Worker& worker, std::size_t row, std::int32_t id);
    void compute_pending(Worker& worker, std::size_t row);
    bool reads_file(const Worker& worker) const { return model_.head.in_file() && worker.rescored < kMaxFileReads; }
    void prefetch(const Worker& worker, std::int32_t id) const;
    void compute(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count);
    void write_candidates(std::size_t row, const CandidateRows& out);

    const Model& model_;
    const Shape& shape_ = model_.shape;
    const Kernels& kernels_;
    const std::size_t thread_work_;
    ThreadTeam& team_;
    Profile& profile_;

    // The current step.
    std::size_t rows_ = 0, computed_ = 0;
    std::size_t screen_bytes_read_ = 0;
    Buffer<float> normed_;  // [rows, hidden]

    Screen screen_;
    bool screened_ = false;           // screen_ is packed
    std::atomic<bool> finite_{true};  // all weights are
    bool table_in_memory_ = false;
    bool computed_whole_rows_ = false;  // in an earlier call

    // The current task. Written before the threads start, read by all of them.
    Task task_{};
    std::size_t total_ = 0, grain_ = 1, items_ = 0;
    std::size_t first_ = 0, count_ = 0;     // rows of Task::logits, or the row of Task::listed
    const std::int32_t* listed_ = nullptr;  // tokens of Task::listed
    float* out_ = nullptr;

    // The current search. Quantised rows are [rows], or [2 * rows] if fine(): then row rows_ + r is the quantised
    // residual of row r, which is what quantisation lost of it. For a ternary lm_head, values_, scales_ and sums_ are
    // those of the count_ rows whose logits are computed.
    std::vector<Worker> workers_;
    std::unique_ptr<Progress[]> progress_;
    std::size_t row_capacity_ = 0;
    std::vector<ScreenQuery> queries_;
    std::vector<const std::uint32_t*> allowed_;  // [rows]: the masks of the filters
    std::vector<std::vector<float>> uppers_;     // [rows][vocab]: upper bounds of the logits, of rows with noise
    std::vector<Candidate> sorted_;
    std::vector<float> best_;     // the logits that all threads have collected of a row
    Buffer<std::int8_t> values_;  // [rows or 2 * rows, hidden rounded up to 64]
    Buffer<float> scales_;
    Buffer<std::int32_t> sums_;
    Buffer<float> residual_;  // [hidden]: of one row
};

}  // namespace bitnet
