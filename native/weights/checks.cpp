#include "weights/checks.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "runtime/errors.hpp"
#include "runtime/threads.hpp"

namespace bitnet {

namespace {

// Starting a thread takes about as long as checking this many bytes.
constexpr std::size_t kThreadBytes = std::size_t{256} << 10;

// How much of an array is checked before the next look at whether to stop.
constexpr std::size_t kPieceBytes = std::size_t{16} << 20;

// The low bit of every 2-bit code; the low pair of every nibble; the low nibble of every byte.
constexpr std::uint64_t kCodes = 0x5555555555555555, kPairs = 0x3333333333333333, kNibbles = 0x0f0f0f0f0f0f0f0f;

std::uint64_t load_word(const std::uint8_t* bytes) {
    std::uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

// For each byte of the word: how many of its four codes have their low bit set in `marks`.
std::uint64_t count_in_bytes(std::uint64_t marks) {
    const std::uint64_t pairs = (marks & kPairs) + (marks >> 2 & kPairs);
    return (pairs + (pairs >> 4)) & kNibbles;
}

// The sum of the word's eight bytes. The multiplication adds the four 16-bit sums into the top 16 bits.
std::uint64_t sum_of_bytes(std::uint64_t bytes) {
    constexpr std::uint64_t kHalves = 0x00ff00ff00ff00ff;
    return ((bytes & kHalves) + (bytes >> 8 & kHalves)) * 0x0001000100010001 >> 48;
}

// Counts are kept in bytes for a group of words, which a compiler turns into vectors. A byte gains at most 4 in a
// round, so after 255 / 4 rounds its count must be added up elsewhere.
constexpr std::size_t kGroupWords = 8, kGroupBytes = 8 * kGroupWords, kRounds = 255 / 4;

// A code is T + 1 in two bits: its low bit is set for 0, its high bit for +1, both for the invalid code 3.
CodeCounts count_part(const std::uint8_t* packed, std::size_t bytes) {
    std::uint64_t invalid = 0, zero = 0, plus = 0;
    const auto count = [&](const std::uint8_t* groups, std::size_t rounds) {
        std::uint64_t bad[kGroupWords] = {}, zeros[kGroupWords] = {}, pluses[kGroupWords] = {};
        for (std::size_t round = 0; round < rounds; ++round) {
            for (std::size_t i = 0; i < kGroupWords; ++i) {
                const std::uint64_t word = load_word(groups + round * kGroupBytes + 8 * i);
                const std::uint64_t low = word & kCodes, high = word >> 1 & kCodes;
                bad[i] |= low & high;
                zeros[i] += count_in_bytes(low);
                pluses[i] += count_in_bytes(high);
            }
        }
        for (std::size_t i = 0; i < kGroupWords; ++i) {
            invalid |= bad[i];
            zero += sum_of_bytes(zeros[i]);
            plus += sum_of_bytes(pluses[i]);
        }
    };
    // Whole groups, then the last bytes padded with zeros, which are codes of -1: the sums do not count those.
    const std::size_t whole = bytes / kGroupBytes;
    for (std::size_t group = 0; group < whole; group += kRounds)
        count(packed + group * kGroupBytes, std::min(whole - group, kRounds));
    std::uint8_t last[kGroupBytes] = {};
    std::copy(packed + whole * kGroupBytes, packed + bytes, last);
    count(last, 1);
    return {invalid != 0, 4 * bytes - zero - plus, zero, plus};
}

// Checks four values in a word at once. Only NaN and infinity have an exponent of all ones. Inverted and masked, only
// their exponents are 0, and only 0 leaves the top bit of a value clear when 0x7fff is added.
bool finite_part(const std::uint8_t* bits, std::size_t count) {
    constexpr std::uint64_t kExponents = 0x7f807f807f807f80, kLargest = 0x7fff7fff7fff7fff, kTops = 0x8000800080008000;
    std::uint64_t finite = kTops;
    const std::size_t whole = count / 4;
    for (std::size_t i = 0; i < whole; ++i) finite &= (~load_word(bits + 8 * i) & kExponents) + kLargest;
    std::uint8_t last[8] = {};
    std::copy(bits + 8 * whole, bits + 2 * count, last);
    finite &= (~load_word(last) & kExponents) + kLargest;
    return finite == kTops;
}

// Work for a ThreadTeam: one phase with `count` work items.
template <typename Body>
struct Parts {
    std::size_t total, count;
    Body body;
    std::size_t begin(std::size_t, std::size_t) const { return count; }
    void run(std::size_t, std::size_t, std::size_t item) const {
        const Range range = part(total, 64, item, count);
        body(item, range.begin, range.end);
    }
};

// Calls body(part, begin, end) for `threads` nearly equal parts of 0..total, on as many threads.
template <typename Body>
void in_parts(std::size_t total, std::size_t threads, Body body) {
    Parts<Body> parts{total, threads, body};
    ThreadTeam(threads).run(parts, 1, threads);
}

void add(CodeCounts& all, const CodeCounts& one) {
    all.invalid += one.invalid;
    all.minus += one.minus;
    all.zero += one.zero;
    all.plus += one.plus;
}

std::size_t useful_threads(std::size_t bytes, std::size_t threads) {
    return std::clamp<std::size_t>(bytes / kThreadBytes, 1, std::max<std::size_t>(threads, 1));
}

}  // namespace

CodeCounts count_codes(const std::uint8_t* packed, std::size_t bytes, std::size_t threads) {
    std::vector<CodeCounts> counts(useful_threads(bytes, threads));
    in_parts(bytes, counts.size(), [&](std::size_t index, std::size_t begin, std::size_t end) {
        counts[index] = count_part(packed + begin, end - begin);
    });
    CodeCounts all;
    for (const CodeCounts& one : counts) add(all, one);
    return all;
}

bool all_finite(const std::uint8_t* bits, std::size_t count, std::size_t threads) {
    std::vector<char> finite(useful_threads(2 * count, threads));
    in_parts(count, finite.size(), [&](std::size_t index, std::size_t begin, std::size_t end) {
        finite[index] = finite_part(bits + 2 * begin, end - begin);
    });
    return std::all_of(finite.begin(), finite.end(), [](char part) { return part != 0; });
}

BackgroundChecks::BackgroundChecks(std::vector<Bytes> packed, std::vector<Bytes> bfloat16, std::size_t threads)
    : counts_(packed.size()), finite_(bfloat16.size(), 1) {
    const auto checks = [this, packed = std::move(packed), bfloat16 = std::move(bfloat16), threads] {
        run(packed, bfloat16, threads);
    };
    try {
        finished_ = std::async(std::launch::async, checks).share();
    } catch (const std::system_error& error) {
        throw DeviceError(std::string("cannot start a thread that checks weights: ") + error.what() +
                          "; raise the limit (ulimit -u)");
    }
}

void BackgroundChecks::run(const std::vector<Bytes>& packed, const std::vector<Bytes>& bfloat16, std::size_t threads) {
    const auto in_pieces = [&](const Bytes& bytes, auto check) {
        for (std::size_t begin = 0; begin < bytes.size && !stopped_; begin += kPieceBytes) {
            const std::size_t size = std::min(bytes.size - begin, kPieceBytes);
            check(bytes.data + begin, size);
            done_ += size;
        }
    };
    for (std::size_t i = 0; i < packed.size(); ++i)
        in_pieces(packed[i], [&](const std::uint8_t* data, std::size_t size) {
            add(counts_[i], count_codes(data, size, threads));
        });
    for (std::size_t i = 0; i < bfloat16.size(); ++i)
        in_pieces(bfloat16[i], [&](const std::uint8_t* data, std::size_t size) {
            if (!all_finite(data, size / 2, threads)) finite_[i] = 0;
        });
}

}  // namespace bitnet
