// Where the time of a decoder's steps goes, phase by phase. While it is off, no clock is read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet {

// The sum over all phases of one kind, such as every layer's `attend`.
struct PhaseTime {
    using Duration = std::chrono::nanoseconds;
    std::uint64_t calls = 0;
    Duration wall{};          // each phase from its begin to the begin of the next one
    Duration work{};          // inside work items, summed over the threads
    Duration available{};     // wall time multiplied by the step's threads
    std::uint64_t bytes = 0;  // of weights and KV cache that the phases had to read
};

// One thread at a time calls start, stop, open and close, while no thread is in a work item. Every thread makes a Work
// of its own.
class Profile {
  public:
    using Clock = std::chrono::steady_clock;

    // `kinds` is the number of kinds of phases; `threads` the largest number of threads of a step.
    Profile(std::size_t kinds, std::size_t threads) : phases_(kinds), workers_(threads) {}

    bool on() const { return on_; }
    // Begins measuring and forgets all earlier times.
    void start();
    // Ends measuring; returns the times since `start`, one for each kind.
    std::vector<PhaseTime> stop();

    // A phase of this kind begins on so many threads.
    void open(std::size_t kind, std::size_t threads);
    // The open phase ends; it read so many bytes.
    void close(std::size_t bytes);

    // While it lives, its thread is in a work item of the open phase.
    class Work {
      public:
        Work(Profile& profile, std::size_t thread) : profile_(profile.on_ ? &profile : nullptr), thread_(thread) {
            if (profile_ != nullptr) begin_ = Clock::now();
        }
        ~Work() {
            if (profile_ != nullptr) profile_->workers_[thread_].time += Clock::now() - begin_;
        }
        Work(const Work&) = delete;
        Work& operator=(const Work&) = delete;

      private:
        Profile* profile_;
        std::size_t thread_;
        Clock::time_point begin_;
    };

  private:
    struct alignas(64) Worker {
        PhaseTime::Duration time{};  // in work items of the open phase
    };
    bool on_ = false;
    std::vector<PhaseTime> phases_;
    std::vector<Worker> workers_;
    // The open phase.
    std::size_t kind_ = 0, threads_ = 0;
    Clock::time_point begin_;
};

}  // namespace bitnet
