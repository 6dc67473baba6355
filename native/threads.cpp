#include "threads.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <string>
#include <system_error>

#include "errors.hpp"

namespace bitnet {

namespace {

// Longer than a barrier within a step usually takes, shorter than a scheduler's time slice.
constexpr std::chrono::microseconds kSpin{50};

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("isb");
#endif
}

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "futexes are 32-bit words");

void futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value) {
    syscall(SYS_futex, &word, operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr, 0);
}

}  // namespace

Range part(std::size_t total, std::size_t grain, std::size_t index, std::size_t count) {
    const std::size_t grains = (total + grain - 1) / grain;
    return {std::min(total, grains * index / count * grain), std::min(total, grains * (index + 1) / count * grain)};
}

void Signal::raise() {
    // Both sides are sequentially consistent: either we see a sleeper, or it sees the new value and does not sleep.
    value_.fetch_add(1);
    if (sleepers_.load() > 0) futex(value_, FUTEX_WAKE, INT_MAX);
}

void Signal::wait_past(std::uint32_t old) const {
    const auto deadline = std::chrono::steady_clock::now() + kSpin;
    do {
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
        for (std::size_t index = 1; index < count; ++index) threads_->emplace_back(&ThreadTeam::work, this, index);
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

void ThreadTeam::stop() {
    function_ = nullptr;
    go_.raise();
    for (std::thread& thread : *threads_) thread.join();
    delete threads_;
}

void ThreadTeam::start(Function function, const void* context) {
    if (getpid() != owner_)
        throw DeviceError("this process was forked after the model was loaded; load the model in the child process");
    function_ = function;
    context_ = context;
    go_.raise();
    function(context, 0);
    barrier();
}

void ThreadTeam::work(std::size_t index) {
    std::uint32_t seen = 0;
    while (true) {
        go_.wait_past(seen);
        ++seen;
        if (function_ == nullptr) return;
        function_(context_, index);
        barrier();
    }
}

void ThreadTeam::barrier() {
    if (count_ == 1) return;
    const std::uint32_t round = passed_.value();  // cannot move on before this thread arrives
    if (arrived_.fetch_add(1) + 1 < count_) return passed_.wait_past(round);
    arrived_.store(0);
    passed_.raise();
}

}  // namespace bitnet
