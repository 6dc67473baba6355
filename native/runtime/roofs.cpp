#include "runtime/roofs.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <utility>

#include "kernels/unroll.hpp"
#include "runtime/memory.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

namespace {

using Clock = std::chrono::steady_clock;

// Runs body(pass, item) for every item on as many threads, `passes` + 1 times. Pass 0 prepares and is not timed.
template <typename Body>
class Passes {
  public:
    Passes(std::size_t items, std::size_t passes, Body body) : items_(items), passes_(passes), body_(std::move(body)) {}

    // Returns the seconds of each timed pass.
    std::vector<double> run() {
        ThreadTeam team(items_);
        team.run(*this, passes_ + 1, items_);
        times_.push_back(Clock::now());
        std::vector<double> seconds;
        for (std::size_t i = 1; i <= passes_; ++i)
            seconds.push_back(std::chrono::duration<double>(times_[i + 1] - times_[i]).count());
        return seconds;
    }

    std::size_t begin(std::size_t, std::size_t) {
        times_.push_back(Clock::now());
        return items_;
    }
    void run(std::size_t, std::size_t pass, std::size_t item) { body_(pass, item); }

  private:
    const std::size_t items_, passes_;
    Body body_;
    std::vector<Clock::time_point> times_;
};

std::vector<double> rates(double work, std::vector<double> seconds) {
    for (double& value : seconds) value = work / value;
    return seconds;
}

// Reads memory in order, four cache lines (16 pairs of words) a round, into four independent sums. The hardware
// prefetcher follows one such stream well; prefetch instructions made it slower. Returns a value that depends on every
// word.
std::uint64_t read(const std::uint64_t* begin, const std::uint64_t* end) {
    typedef std::uint64_t Pair __attribute__((vector_size(16)));
    Pair sums[4] = {};
    for (auto* p = reinterpret_cast<const Pair*>(begin); p < reinterpret_cast<const Pair*>(end); p += 16) {
        BITNET_UNROLL
        for (std::size_t i = 0; i < 16; ++i) sums[i % 4] ^= p[i];
    }
    const Pair total = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    return total[0] ^ total[1];
}

// All results are added to it. A compiler must not remove a computation whose result is used.
std::atomic<std::uint64_t> sink;

}  // namespace

std::vector<double> measure_read_bandwidth(std::size_t threads, std::size_t bytes, std::size_t passes) {
    const std::size_t share = round_up(bytes / threads, std::size_t{2} << 20);
    const LazyMemory memory(share * threads, "a buffer to measure bandwidth with");
    // The begin of a thread's part, in words.
    const auto part = [&](std::size_t item) {
        return static_cast<std::uint64_t*>(memory.data()) + item * share / sizeof(std::uint64_t);
    };
    Passes reads(threads, passes, [&](std::size_t pass, std::size_t item) {
        // The thread that writes a part first gets it in memory near to it, on machines with several memory nodes.
        if (pass == 0) __builtin_memset(part(item), 1, share);
        sink += read(part(item), part(item + 1));
    });
    return rates(static_cast<double>(share * threads), reads.run());
}

std::vector<double> measure_int8_peak(const Kernels& kernels, std::size_t threads, double seconds, std::size_t passes) {
    // Double the rounds until one thread takes about `seconds` for them.
    std::size_t rounds = 1;
    const auto time_of_rounds = [&] {
        const Clock::time_point begin = Clock::now();
        kernels.multiply_int8(rounds);
        return std::chrono::duration<double>(Clock::now() - begin).count();
    };
    while (time_of_rounds() < seconds / 2) rounds *= 2;
    const double products = static_cast<double>(kernels.multiply_int8(rounds)) * static_cast<double>(threads);
    Passes multiplications(threads, passes, [&](std::size_t, std::size_t) { sink += kernels.multiply_int8(rounds); });
    return rates(2 * products, multiplications.run());
}

}  // namespace bitnet
