#include "head/head.hpp"

#include <algorithm>

namespace bitnet {

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
    computed_ = screen_bytes_read_ = 0;
    for (Worker& worker : workers_) worker.rescored = 0;
    return normed_.data();
}

// Divides 0..total among the threads that are worth `cost`, about one work item for each quarter of thread_work_, and
// returns when all is done.
void Head::share_out(Task task, std::size_t total, std::size_t grain, std::size_t cost) {
    task_ = task;
    total_ = total;
    grain_ = grain;
    const std::size_t threads = std::min(std::max<std::size_t>(cost / thread_work_, 1), team_.size());
    const std::size_t grains = (total + grain - 1) / grain;
    items_ = threads == 1 ? 1 : std::min(round_up(cost / ((thread_work_ + 3) / 4), threads), grains);
    team_.run(*this, task == Task::screen ? 2 : 1, threads);
}

// The second phase of Task::screen computes what the workers deferred: one work item for each worker.
std::size_t Head::begin(std::size_t, std::size_t phase) {
    if (phase == 0) return items_;
    for (std::size_t row = 0; row < rows_; ++row) share_threshold(row);
    return workers_.size();
}

void Head::run(std::size_t thread, std::size_t phase, std::size_t item) {
    const Profile::Work work(profile_, thread);
    if (phase == 1) {
        for (std::size_t row = 0; row < rows_; ++row) compute_deferred(workers_[item], row);
        return;
    }
    const Range range = part(total_, grain_, item, items_);
    switch (task_) {
        case Task::logits: return compute_whole_rows(workers_[thread], range);
        case Task::pack:
            for (std::size_t block = range.begin; block < range.end; ++block)
                if (!screen_.pack(kernels_, model_.head.floats, block, workers_[thread].weights.data()))
                    finite_.store(false);
            return;
        case Task::screen:
            for (std::size_t block = range.begin; block < range.end; ++block) screen_block(workers_[thread], block);
            return;
        case Task::listed: return compute_listed(workers_[thread], range);
        case Task::grouped_logits: return compute_grouped(range);
        case Task::grouped_listed: return compute_grouped_listed(range);
    }
}

// Computes logits of the ids in `ids` for count_ rows. The first call reads the weights from the file, kFileRows at a
// time: a model may need whole rows only once. Later calls read them through the mapping, which keeps them in memory.
void Head::compute_whole_rows(Worker& worker, Range ids) {
    const float* x = normed_.data() + first_ * shape_.hidden;
    const std::size_t most = computed_whole_rows_ ? ids.end - ids.begin : kFileRows;
    for (std::size_t begin = ids.begin; begin < ids.end; begin += most) {
        const std::size_t rows = std::min(most, ids.end - begin);
        const std::uint8_t* weights = computed_whole_rows_
                                          ? model_.head.floats.at(begin)
                                          : model_.head.floats.read(begin, rows, worker.weights.data());
        kernels_.logits(weights, shape_.hidden, rows, x, shape_.hidden, count_, out_ + begin, shape_.vocab);
    }
}

void Head::logits(std::size_t first, std::size_t count, float* out) {
    if (count == 0) return;
    first_ = first;
    count_ = count;
    out_ = out;
    computed_ += count * shape_.vocab;
    if (model_.head.is_ternary()) {
        quantize_grouped(first, count);
        share_out(Task::grouped_logits, byte_rows(model_.head.ternary), 1,
                  matrix_bytes(model_.head.ternary) * (count + 7) / 8);
        return;
    }
    grow_file_buffers();
    // Sixteen rows take about as long to multiply as the weights take to read.
    share_out(Task::logits, shape_.vocab, 4, 2 * shape_.vocab * shape_.hidden * (count + 15) / 16);
    table_in_memory_ = table_in_memory_ || computed_whole_rows_;
    computed_whole_rows_ = true;
}

void Head::candidates(const LogitFilter* filters, const CandidateRows& out) {
    if (model_.head.is_ternary()) {
        std::fill_n(out.counts, rows_, -1);
        return;
    }
    if (!screened_) make_screen();
    const std::size_t bytes = Screen::bytes(shape_.vocab, shape_.hidden);
    const bool bounded = prepare_search(filters);
    screen_bytes_read_ = bounded ? bytes : 0;
    if (!bounded) {
        std::fill_n(out.counts, rows_, -1);
        return;
    }
    share_out(Task::screen, screen_.blocks(), 1, bytes * (rows_ + 7) / 8);
    for (std::size_t row = 0; row < rows_; ++row) write_candidates(row, out);
    for (const Worker& worker : workers_) {
        computed_ += worker.rescored;
        table_in_memory_ = table_in_memory_ || worker.touched_table;
    }
}

void Head::listed(std::size_t row, const std::int32_t* ids, std::size_t count, float* out) {
    if (count == 0) return;
    first_ = row;
    listed_ = ids;
    out_ = out;
    if (model_.head.is_ternary()) {
        quantize_grouped(row, 1);
        share_out(Task::grouped_listed, count, 1, count * row_bytes(model_.head.ternary));
        computed_ += count;
        return;
    }
    grow_file_buffers();
    share_out(Task::listed, count, kLogitsPerCall, 2 * count * shape_.hidden);
    computed_ += count;
    for (const Worker& worker : workers_) table_in_memory_ = table_in_memory_ || worker.touched_table;
}

// Computes the logits of listed tokens. While one group is computed, the weights of the next group are on their way.
void Head::compute_listed(Worker& worker, Range range) {
    const auto prefetch_group = [&](std::size_t begin) {
        for (std::size_t i = begin; i < std::min(begin + kLogitsPerCall, range.end); ++i) prefetch(worker, listed_[i]);
    };
    prefetch_group(range.begin);
    for (std::size_t begin = range.begin; begin < range.end; begin += kLogitsPerCall) {
        prefetch_group(begin + kLogitsPerCall);
        compute_single(worker, first_, listed_ + begin, std::min(kLogitsPerCall, range.end - begin), out_ + begin);
    }
}

// Computes up to kLogitsPerCall logits of a row from the bfloat16 weights of single tokens.
void Head::compute_single(Worker& worker, std::size_t row, const std::int32_t* ids, std::size_t count, float* out) {
    const std::uint8_t* weights[kLogitsPerCall] = {};
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t id = static_cast<std::size_t>(ids[i]), size = model_.head.floats.row_bytes();
        weights[i] = reads_file(worker) ? model_.head.floats.read(id, 1, worker.weights.data() + i * size)
                                        : model_.head.floats.at(id);
    }
    worker.touched_table = worker.touched_table || !reads_file(worker);
    kernels_.logits_of(weights, shape_.hidden, count, normed_.data() + row * shape_.hidden, out);
    worker.rescored += count;
}

void Head::make_screen() {
    screen_ = Screen(shape_.vocab, shape_.hidden);
    grow_file_buffers();
    share_out(Task::pack, screen_.blocks(), 1, 2 * shape_.vocab * shape_.hidden);
    screened_ = true;
}

void Head::grow_file_buffers() {
    if (!model_.head.in_file()) return;
    for (Worker& worker : workers_) worker.weights.grow(kFileRows * model_.head.floats.row_bytes());
}

std::size_t Head::bytes_read() const {
    std::size_t bytes = screen_bytes_read_;
    for (const Worker& worker : workers_) bytes += worker.rescored * 2 * shape_.hidden;
    return bytes;
}

}  // namespace bitnet
