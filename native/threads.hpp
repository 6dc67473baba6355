// A fixed team of threads that runs one function at a time, with barriers inside it.
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

class ThreadTeam {
  public:
    // Starts count - 1 threads; the caller of run is the other one. Throws DeviceError where the system refuses.
    explicit ThreadTeam(std::size_t count);
    ~ThreadTeam();
    ThreadTeam(const ThreadTeam&) = delete;
    ThreadTeam& operator=(const ThreadTeam&) = delete;

    std::size_t size() const { return count_; }

    // Calls body(index) on every thread, 0 being the caller, and returns when all have finished. The body must not
    // throw. Throws DeviceError in a forked child, which has none of the threads.
    template <typename Body>
    void run(const Body& body) {
        start([](const void* context, std::size_t index) { (*static_cast<const Body*>(context))(index); }, &body);
    }

    // Within a body: returns when every thread has arrived; what they wrote before is then visible to all.
    void barrier();

  private:
    using Function = void (*)(const void*, std::size_t);
    void start(Function function, const void* context);
    void work(std::size_t index);
    void stop();

    const std::size_t count_;
    const pid_t owner_;
    Function function_ = nullptr;  // null asks the threads to leave
    const void* context_ = nullptr;
    alignas(64) Signal go_;
    alignas(64) Signal passed_;
    alignas(64) std::atomic<std::size_t> arrived_{0};
    std::vector<std::thread>* threads_;  // leaked in a forked child, where there is nothing to join
};

}  // namespace bitnet
