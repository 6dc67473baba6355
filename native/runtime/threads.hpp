// A fixed team of threads that computes phases of independent work items.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace bitnet {

// begin..end, end exclusive.
struct Range {
    std::size_t begin, end;
};
// Returns part `index` of `count` nearly equal parts of 0..total. All boundaries but the last are multiples of `grain`.
Range part(std::size_t total, std::size_t grain, std::size_t index, std::size_t count);

// A number that threads wait on. They spin for a moment, then sleep in the kernel, so that other work on the machine
// keeps its speed. std::atomic::wait would do the same, but it needs g++ 11 and its spin time cannot be set. Any thread
// may call any function.
class Signal {
  public:
    std::uint32_t value() const { return value_.load(std::memory_order_acquire); }
    // Adds one and wakes all waiting threads.
    void raise();
    // Returns once the value differs from `old`.
    void wait_past(std::uint32_t old) const;

  private:
    std::atomic<std::uint32_t> value_{0};
    mutable std::atomic<std::uint32_t> sleepers_{0};
};

// A job is a sequence of phases. Each phase has work items that any thread may do in any order; a phase begins when all
// work items of the previous one are done. Threads claim work items one by one. So a thread that the system has paused
// delays the job only if it holds a work item: the other threads do the rest.
class ThreadTeam {
  public:
    // Starts count - 1 threads; the caller of `run` is the other one. Throws DeviceError if the system refuses.
    explicit ThreadTeam(std::size_t count);
    ~ThreadTeam();
    ThreadTeam(const ThreadTeam&) = delete;
    ThreadTeam& operator=(const ThreadTeam&) = delete;

    std::size_t size() const { return count_; }

    // Does all phases of `work` on up to `threads` threads, and returns when they are done. The caller is thread 0. One
    // thread at a time may call it. Throws DeviceError in a forked child process, because the threads are not in it.
    //
    // Before each phase one thread calls work.begin(thread, phase), while no other thread does anything. It returns the
    // number of work items, which may be 0. Then work.run(thread, phase, item) is called for each of them. What `begin`
    // writes, every `run` of the phase may read. Neither may throw.
    template <typename Work>
    void run(Work& work, std::size_t phases, std::size_t threads) {
        start({[](void* context, std::size_t thread, std::size_t phase) {
                   return static_cast<Work*>(context)->begin(thread, phase);
               },
               [](void* context, std::size_t thread, std::size_t phase, std::size_t item) {
                   static_cast<Work*>(context)->run(thread, phase, item);
               },
               &work, phases},
              threads);
    }

  private:
    struct Job {
        std::size_t (*begin)(void*, std::size_t thread, std::size_t phase);
        void (*run)(void*, std::size_t thread, std::size_t phase, std::size_t item);
        void* context;
        std::size_t phases;
    };
    void start(const Job& job, std::size_t threads);
    void wait_for_jobs(std::size_t thread);
    void take_part(std::size_t thread);
    bool do_item(std::size_t thread);
    void open_phase(std::size_t thread, std::size_t phase);
    void stop();

    const std::size_t count_;
    const pid_t owner_;  // the process that started the threads
    // Written only while no work item is claimed or left to claim.
    Job job_{};
    std::size_t phase_ = 0, items_ = 0;
    std::uint64_t opened_ = 0;  // phases opened since the team exists
    std::atomic<std::size_t> active_{0};
    std::atomic<bool> finished_{true}, stopping_{false};
    alignas(64) Signal job_started_;
    alignas(64) Signal phase_changed_;  // to the next phase, or to the end of the job
    // The lower half counts the work items left to claim. The upper half numbers the phase: a thread that was
    // interrupted while it claimed must not take an item of a later phase for one of the phase that it saw.
    alignas(64) std::atomic<std::uint64_t> ticket_{0};
    alignas(64) std::atomic<std::size_t> unfinished_{0};  // work items of the phase that are not done
    std::vector<std::thread>* threads_;  // not freed in a forked child process, which has no threads to join
};

}  // namespace bitnet
