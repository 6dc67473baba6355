#include "weights/checks.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/threads.hpp"

namespace bitnet {

namespace {

// To start a thread takes as long as to look at about so many bytes.
constexpr std::size_t kThreadBytes = std::size_t{256} << 10;

constexpr std::uint64_t kCodes = 0x5555555555555555, kPairs = 0x3333333333333333, kNibbles = 0x0f0f0f0f0f0f0f0f;

std::uint64_t load_word(const std::uint8_t* bytes) {
    std::uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    return word;
}

// How many of four codes in a byte are marked by their low bit, in each byte.
std::uint64_t count_in_bytes(std::uint64_t marks) {
    const std::uint64_t pairs = (marks & kPairs) + (marks >> 2 & kPairs);
    return (pairs + (pairs >> 4)) & kNibbles;
}

std::uint64_t sum_of_bytes(std::uint64_t bytes) {
    constexpr std::uint64_t kHalves = 0x00ff00ff00ff00ff;
    return ((bytes & kHalves) + (bytes >> 8 & kHalves)) * 0x0001000100010001 >> 48;
}

// Zeros and pluses of whole groups of words; what a byte of a sum counts stays below 256.
constexpr std::size_t kGroupWords = 8, kGroupBytes = 8 * kGroupWords, kRounds = 255 / 4;

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
    const std::size_t whole = bytes / kGroupBytes;
    for (std::size_t group = 0; group < whole; group += kRounds)
        count(packed + group * kGroupBytes, std::min(whole - group, kRounds));
    std::uint8_t rest[kGroupBytes] = {};
    std::copy(packed + whole * kGroupBytes, packed + bytes, rest);
    count(rest, 1);
    return {invalid != 0, 4 * bytes - zero - plus, zero, plus};
}

// The exponent's bits of NaN and infinity are all ones: inverted they are 0, which alone leaves a value's top bit clear
// when 0x7fff is added.
bool finite_part(const std::uint8_t* bits, std::size_t count) {
    constexpr std::uint64_t kExponents = 0x7f807f807f807f80, kMost = 0x7fff7fff7fff7fff, kTops = 0x8000800080008000;
    std::uint64_t finite = kTops;
    const std::size_t whole = count / 4;
    for (std::size_t i = 0; i < whole; ++i) finite &= (~load_word(bits + 8 * i) & kExponents) + kMost;
    std::uint8_t rest[8] = {};
    std::copy(bits + 8 * whole, bits + 2 * count, rest);
    finite &= (~load_word(rest) & kExponents) + kMost;
    return finite == kTops;
}

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

// Calls body(part, begin, end) for nearly equal parts of 0..total, each on a thread.
template <typename Body>
void in_parts(std::size_t total, std::size_t threads, Body body) {
    Parts<Body> parts{total, threads, body};
    ThreadTeam(threads).run(parts, 1, threads);
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
    for (const CodeCounts& one : counts) {
        all.invalid += one.invalid;
        all.minus += one.minus;
        all.zero += one.zero;
        all.plus += one.plus;
    }
    return all;
}

bool all_finite(const std::uint8_t* bits, std::size_t count, std::size_t threads) {
    std::vector<char> finite(useful_threads(2 * count, threads));
    in_parts(count, finite.size(), [&](std::size_t index, std::size_t begin, std::size_t end) {
        finite[index] = finite_part(bits + 2 * begin, end - begin);
    });
    return std::all_of(finite.begin(), finite.end(), [](char part) { return part != 0; });
}

}  // namespace bitnet
