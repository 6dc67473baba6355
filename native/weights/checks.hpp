// Checks of every byte of a checkpoint's weights, at the speed of memory. Each call starts threads of its own, at most
// `threads`. Throws DeviceError if the system refuses them.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <vector>

namespace bitnet {

// How often each value occurs among ternary weights. `invalid` is 0 if the code 3 does not occur, and at least 1 if it
// does; then the other counts mean nothing.
struct CodeCounts {
    std::uint64_t invalid = 0, minus = 0, zero = 0, plus = 0;
};

// Counts the codes in bytes of four 2-bit codes each.
CodeCounts count_codes(const std::uint8_t* packed, std::size_t bytes, std::size_t threads);

// Returns whether none of `count` bfloat16 values is NaN or infinite. `bits` may have any alignment.
bool all_finite(const std::uint8_t* bits, std::size_t count, std::size_t threads);

struct Bytes {
    const std::uint8_t* data;
    std::size_t size;
};

// The same checks of many arrays, by a thread of its own that starts at once. The bytes must stay where they are until
// the end of this object, which ends the checks.
class BackgroundChecks {
  public:
    // `packed` are ternary codes, `bfloat16` are values. Each check is done by `threads` threads. Throws DeviceError if
    // the system refuses the first thread; `finish` throws it for the others.
    BackgroundChecks(std::vector<Bytes> packed, std::vector<Bytes> bfloat16, std::size_t threads);
    ~BackgroundChecks() { stopped_ = true; }  // the future's own end waits for the thread

    // How many bytes are checked so far.
    std::size_t done() const { return done_; }

    // Waits until all is checked, for `duration` at most. Returns whether it is.
    bool wait(std::chrono::duration<double> duration) const {
        return finished_.wait_for(duration) == std::future_status::ready;
    }

    // Waits, and throws what the thread has thrown. After that, the results are there.
    void finish() const { finished_.get(); }

    // For each of `packed`: its counts. For each of `bfloat16`: 1 if all values are finite, else 0.
    const std::vector<CodeCounts>& counts() const { return counts_; }
    const std::vector<char>& finite() const { return finite_; }

  private:
    void run(const std::vector<Bytes>& packed, const std::vector<Bytes>& bfloat16, std::size_t threads);

    std::atomic<bool> stopped_{false};
    std::atomic<std::size_t> done_{0};
    std::vector<CodeCounts> counts_;
    std::vector<char> finite_;
    std::shared_future<void> finished_;  // the last member: its end comes first
};

}  // namespace bitnet
