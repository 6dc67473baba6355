// A fixed team of threads that works off phases of independent items.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace bitnet {

// Part `index` of `count` nearly equal parts of 0..total; all boundaries are multiples of `grain`.
struct Range {
    std::size_t begin, end;
};
Range part(std::size_t total, std::size_t grain, std::size_t index, std::size_t count);

// A number that threads wait on. They spin for a moment, then sleep in the kernel, so that a machine with other work to
// do keeps its speed. std::atomic::wait would serve, but needs g++ 11 and spins as it pleases.
class Signal {
  public:
    std::uint32_t value() const { return value_.load(std::memory_order_acquire); }
    void raise();                             // adds one and wakes all waiting threads
    void wait_past(std::uint32_t old) const;  // returns once the value differs from `old`

  private:
    std::atomic<std::uint32_t> value_{0};
    mutable std::atomic<std::uint32_t> sleepers_{0};
};

// Work is a sequence of phases, each of some items that any thread may do in any order; a phase begins when all items
// of the one before are done. Threads claim items one by one, so that one the system keeps from running is waited for
// only if it holds an item, and the others do the rest.
class ThreadTeam {
  public:
    // Starts count - 1 threads; the caller of run is the other one. Throws DeviceError where the system refuses.
    explicit ThreadTeam(std::size_t count);
    ~ThreadTeam();
    ThreadTeam(const ThreadTeam&) = delete;
    ThreadTeam& operator=(const ThreadTeam&) = delete;

    std::size_t size() const { return count_; }

    // Does all phases of `work` on up to `threads` threads, the caller being thread 0. Before each phase one thread
    // calls work.begin(thread, phase), while no other does anything, for the number of its items, which may be 0; then
    // work.run(thread, phase, item) is called for each. Neither may throw. Throws DeviceError in a forked child, which
    // has none of the threads.
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
    const pid_t owner_;
    // Written while no item is claimed or left to claim.
    Job job_{};
    std::size_t phase_ = 0, items_ = 0;
    std::uint64_t opened_ = 0;  // phases so far
    std::atomic<std::size_t> active_{0};
    std::atomic<bool> finished_{true}, leave_{false};
    alignas(64) Signal started_;  // a job has
    alignas(64) Signal moved_;    // to another phase, or the end
    // The items left to claim in the lower half; in the upper one a number of the phase, lest a thread that was away
    // takes a new phase for the one it saw.
    alignas(64) std::atomic<std::uint64_t> ticket_{0};
    alignas(64) std::atomic<std::size_t> unfinished_{0};
    std::vector<std::thread>* threads_;  // leaked in a forked child, where there is nothing to join
};

}  // namespace bitnet
