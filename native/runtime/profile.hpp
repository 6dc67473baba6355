// Where a decoder's time goes, phase by phase. While it is off, no clock is read.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet {

struct PhaseTime {
    using Duration = std::chrono::nanoseconds;
    std::uint64_t calls = 0;
    Duration wall{};          // from the phase's beginning to the next one's
    Duration work{};          // on the phase's items, summed over the threads
    Duration available{};     // wall times the threads of the step
    std::uint64_t bytes = 0;  // of weights and cache that had to be read
};

class Profile {
  public:
    using Clock = std::chrono::steady_clock;

    Profile(std::size_t kinds, std::size_t threads) : phases_(kinds), workers_(threads) {}

    bool on() const { return on_; }
    // Forgets what was measured.
    void start();
    // The phases by kind, since the start.
    std::vector<PhaseTime> stop();

    // A phase of this kind begins. Called, as close, by one thread while no other works.
    void open(std::size_t kind, std::size_t threads);
    // It ends, having read so many bytes.
    void close(std::size_t bytes);

    // While it lives, its thread works on the phase at hand.
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
        PhaseTime::Duration time{};  // on the phase at hand
    };
    bool on_ = false;
    std::vector<PhaseTime> phases_;
    std::vector<Worker> workers_;
    // The phase at hand.
    std::size_t kind_ = 0, threads_ = 0;
    Clock::time_point begin_;
};

}  // namespace bitnet
