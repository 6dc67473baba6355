#include "runtime/threads.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <string>
#include <system_error>

#include "runtime/errors.hpp"

namespace bitnet {

namespace {

// How long a thread spins before it sleeps: longer than the usual pause between two phases of a step, shorter than a
// time slice of the scheduler.
constexpr std::chrono::microseconds kSpin{50};

// Tells the processor that this thread spins, so that the other hardware thread of the core gets its resources.
inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "futexes are 32-bit words");

// A futex is a 32-bit word on which threads of this process sleep until another thread wakes them.
void futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

Range part(std::size_t total, std::size_t grain, std::size_t index, std::size_t count) {
    const std::size_t grains = (total + grain - 1) / grain;
    return {std::min(total, grains * index / count * grain), std::min(total, grains * (index + 1) / count * grain)};
}

void Signal::raise() {
    // Here and in wait_past all operations are sequentially consistent. So either this thread sees the sleeper and
    // wakes it, or the sleeper sees the new value and does not sleep.
    value_.fetch_add(1);
    if (sleepers_.load() > 0) futex(value_, FUTEX_WAKE, INT_MAX);
}

void Signal::wait_past(std::uint32_t old) const {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    do {
        // Reading the clock takes longer than a pause: look at it only now and then.
        for (int i = 0; i < 64; ++i) {
            if (value() != old) return;
            pause();
        }
    } while (std::chrono::steady_clock::now() < deadline);
    sleepers_.fetch_add(1);
    while (value_.load() == old) futex(value_, FUTEX_WAIT, old);
    sleepers_.fetch_sub(1);
}

ThreadTeam::ThreadTeam(std::size_t count) : count_(count), owner_(getpid()), threads_(new std::vector<std::thread>) {
    try {
        for (std::size_t index = 1; index < count; ++index)
            threads_->emplace_back(&ThreadTeam::wait_for_jobs, this, index);
    } catch (const std::system_error& error) {
        const std::size_t started = threads_->size() + 1;
        stop();
        throw DeviceError("cannot start " + std::to_string(count) + " threads, only " + std::to_string(started) + ": " +
                          error.what() + "; ask for fewer threads or raise the limit (ulimit -u)");
    }
}

ThreadTeam::~ThreadTeam() {
    if (getpid() == owner_) stop();
}

// Also called by the constructor when the system refuses a thread: it joins those that were started.
void ThreadTeam::stop() {
    stopping_.store(true);
    job_started_.raise();
    for (std::thread& thread : *threads_) thread.join();
    delete threads_;
}

void ThreadTeam::start(const Job& job, std::size_t threads) {
    if (getpid() != owner_)
        throw DeviceError("this process was forked after the model was loaded; load the model in the child process");
    // Without other threads there is nothing to claim or to signal.
    if (threads == 1) {
        for (std::size_t phase = 0; phase < job.phases; ++phase) {
            const std::size_t items = job.begin(job.context, 0, phase);
            for (std::size_t item = 0; item < items; ++item) job.run(job.context, 0, phase, item);
        }
        return;
    }
    job_ = job;
    active_.store(threads);
    finished_.store(false);
    open_phase(0, 0);
    job_started_.raise();
    take_part(0);
}

// The life of every thread but the caller's.
void ThreadTeam::wait_for_jobs(std::size_t thread) {
    std::uint32_t seen = 0;
    while (true) {
        job_started_.wait_past(seen);
        seen = job_started_.value();
        if (stopping_.load()) return;
        if (thread < active_.load()) take_part(thread);
    }
}

// Does work items until the job is finished.
void ThreadTeam::take_part(std::size_t thread) {
    while (true) {
        // Read the signal before looking for work items: a phase that opens in between then ends the wait at once.
        const std::uint32_t seen = phase_changed_.value();
        if (finished_.load()) return;
        if (!do_item(thread)) phase_changed_.wait_past(seen);
    }
}

// Claims one work item and does it. Returns false if the phase has none left to claim. The thread that finishes the
// last work item of a phase opens the next one.
bool ThreadTeam::do_item(std::size_t thread) {
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    do {
        if (static_cast<std::uint32_t>(ticket) == 0) return false;
    } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire));
    const std::size_t phase = phase_;
    job_.run(job_.context, thread, phase, items_ - static_cast<std::uint32_t>(ticket));
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) open_phase(thread, phase + 1);
    return true;
}

// Opens the first phase from `phase` on that has work items, or finishes the job if there is none.
void ThreadTeam::open_phase(std::size_t thread, std::size_t phase) {
    std::size_t items = 0;
    while (phase < job_.phases && (items = job_.begin(job_.context, thread, phase)) == 0) ++phase;
    phase_ = phase;
    items_ = items;
    unfinished_.store(items, std::memory_order_relaxed);
    // Read job_ now: as soon as items can be claimed, the other threads may finish this job and begin another one.
    const bool last = phase == job_.phases;
    ticket_.store(++opened_ << 32 | items, std::memory_order_release);
    if (last) finished_.store(true);
    phase_changed_.raise();
}

}  // namespace bitnet
