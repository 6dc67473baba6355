// Times the products of one token with ternary matrices that no cache holds, beside the read bandwidth of the same
// moment: gemv [threads [rows columns]...]. Prints a line for each instruction set, shape and kind of pages.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include <sys/mman.h>

#include "kernels/select.hpp"
#include "runtime/memory.hpp"
#include "runtime/roofs.hpp"
#include "runtime/threads.hpp"

namespace {

using namespace bitnet;

constexpr std::size_t kBytes = std::size_t{512} << 20;
constexpr std::size_t kRounds = 7;

// Every thread multiplies its rows of all matrices, one after the other; matrices are shared out, not waited for.
class Product {
  public:
    Product(const Kernels& kernels, const std::uint8_t* weights, TernaryForm form, std::size_t out, std::size_t in,
            std::size_t threads)
        : kernels_(kernels),
          weight_{weights, out, in, 1.0f, form},
          threads_(threads),
          y_(out),
          values_(round_up(in, 64)) {
        std::vector<float> x(in);
        for (std::size_t i = 0; i < in; ++i) x[i] = static_cast<float>(static_cast<int>(i * 37 % 255) - 127);
        kernels.quantize(x.data(), in, values_.data(), &scale_, &sum_);
    }
    std::size_t bytes() const { return byte_rows(weight_) * row_bytes(weight_); }
    std::size_t matrices() const { return kBytes / bytes(); }
    // Seconds a matrix.
    double measure() {
        ThreadTeam team(threads_);
        std::vector<double> times;
        for (std::size_t round = 0; round < kRounds; ++round) {
            const auto begin = std::chrono::steady_clock::now();
            team.run(*this, 1, threads_);
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
            times.push_back(time.count() / static_cast<double>(matrices()));
        }
        std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
        return times[kRounds / 2];
    }
    std::size_t begin(std::size_t, std::size_t) { return threads_; }
    void run(std::size_t, std::size_t, std::size_t item) {
        const Range rows = part(byte_rows(weight_), 4, item, threads_);
        const Activations x{values_.data(), round_up(weight_.in, 64), &scale_, &sum_, 1};
        for (std::size_t m = 0; m < matrices(); ++m) {
            TernaryMatrix weight = weight_;
            weight.packed += m * bytes();
            kernels_.linear(weight, x, rows.begin, rows.end, y_.data(), weight.out);
        }
    }

  private:
    const Kernels& kernels_;
    const TernaryMatrix weight_;
    const std::size_t threads_;
    Buffer<float> y_;
    Buffer<std::int8_t> values_;
    float scale_ = 0;
    std::int32_t sum_ = 0;
};

}  // namespace

int main(int count, char** arguments) {
    const auto number = [&](int i) { return static_cast<std::size_t>(std::strtoull(arguments[i], nullptr, 10)); };
    const std::size_t threads = count > 1 ? number(1) : 1;
    std::vector<std::pair<std::size_t, std::size_t>> shapes;
    for (int i = 2; i + 1 < count; i += 2) shapes.emplace_back(number(i), number(i + 1));
    if (shapes.empty()) shapes = {{3840, 2560}, {2560, 2560}, {6912, 2560}, {2560, 6912}};
    for (const bool huge : {false, true}) {
        const LazyMemory memory(kBytes + 64, "weights");
        if (!huge) madvise(memory.data(), kBytes + 64, MADV_NOHUGEPAGE);
        __builtin_memset(memory.data(), 0x61, kBytes + 64);
        for (const std::size_t offset : {std::size_t{0}, std::size_t{33}}) {
            for (const Kernels* kernels : available_kernels()) {
                if (kernels == scalar_kernels()) continue;
                for (const TernaryForm form : {TernaryForm::stored, TernaryForm::dense}) {
                    const bool dense = form == TernaryForm::dense;
                    if (dense && kernels->pack_dense == nullptr) continue;
                    for (const auto& [out, in] : shapes) {
                        Product product(*kernels, static_cast<const std::uint8_t*>(memory.data()) + offset, form, out,
                                        in, threads);
                        const double time = product.measure(), rate = static_cast<double>(product.bytes()) / time;
                        std::vector<double> roof = measure_read_bandwidth(threads, kBytes, 3);
                        const double most = *std::max_element(roof.begin(), roof.end());
                        std::printf(
                            "%-12s %-6s %5zu x %5zu  %s pages  offset %2zu  %5.1f us  %5.1f GB/s of %5.1f: %3.0f %%\n",
                            kernels->name, dense ? "dense" : "stored", out, in, huge ? "2 MB" : "4 KB", offset,
                            1e6 * time, rate / 1e9, most / 1e9, 100 * rate / most);
                    }
                }
            }
        }
    }
}
