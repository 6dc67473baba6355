// Times the product of a ternary matrix and one token. A decode step mostly consists of such products. The benchmark
// compares them with the bandwidth at which the same threads read memory in the same minute. Run `gemv --help`, or see
// kUsage below.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "kernels/select.hpp"
#include "runtime/memory.hpp"
#include "runtime/roofs.hpp"
#include "runtime/threads.hpp"

namespace {

using namespace bitnet;

constexpr char kUsage[] = R"(Usage: gemv [OPTIONS] [THREADS [ROWS COLUMNS]...]

Times the product of a ternary matrix of ROWS x COLUMNS weights and one token.
The matrices fill a block of memory that no cache holds and are multiplied one
after another, so the time is that of weights which come from memory.

Prints one line for each instruction set of this processor (the plain C++ one
excepted), form of the weights (grouped: with a scale for each 128 columns, of
which COLUMNS is then a multiple), shape, kind of memory pages, and offset of
the weights from a 64-byte boundary. A line has the microseconds per product,
the gigabytes of weights per second, and the gigabytes per second that the same
threads read when they do nothing else.

Arguments:
  THREADS           Threads that share each product's rows. Default: 1.
  ROWS COLUMNS      A shape; ROWS is a multiple of 4. Any number of shapes.
                    Default: the four shapes of BitNet b1.58 2B4T.

Options:
  --megabytes N     Size of the block of memory, in MiB. It should be many times
                    the last cache. Default: 512.
  --rounds N        Times the whole block is multiplied; the median is printed.
                    Default: 7.
  --help            Print this text.
)";

struct MatrixShape {
    std::size_t out, in;
};

constexpr std::size_t kGroup = 128;  // of the grouped form

std::size_t bytes_of(MatrixShape shape, TernaryForm form) {
    const TernaryMatrix matrix{nullptr, shape.out, shape.in, 1.0f, form, kGroup};
    return byte_rows(matrix) * row_bytes(matrix);
}

const char* name_of(TernaryForm form) {
    return form == TernaryForm::grouped ? "grouped" : form == TernaryForm::dense ? "dense" : "stored";
}

bool has_form(const Kernels& kernels, TernaryForm form, MatrixShape shape) {
    if (form == TernaryForm::dense) return kernels.pack_dense != nullptr;
    return form == TernaryForm::stored || shape.in % kGroup == 0;
}

struct Options {
    std::size_t threads = 1;
    std::size_t bytes = std::size_t{512} << 20;
    std::size_t rounds = 7;
    std::vector<MatrixShape> shapes;
    bool help = false;
};

std::size_t parse_number(const std::string& what, const char* text) {
    char* end = nullptr;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || value == 0 || value > 1000000)
        throw std::invalid_argument(what + " must be a whole number from 1 to 1000000, not '" + text + "'");
    return value;
}

Options parse(int count, char** arguments) {
    Options options;
    std::vector<std::size_t> numbers;
    for (int i = 1; i < count; ++i) {
        const std::string argument = arguments[i];
        const auto value = [&] {
            if (i + 1 == count) throw std::invalid_argument(argument + " needs a number");
            return parse_number(argument, arguments[++i]);
        };
        if (argument == "--help") {
            options.help = true;
        } else if (argument == "--megabytes") {
            options.bytes = value() << 20;
        } else if (argument == "--rounds") {
            options.rounds = value();
        } else {
            numbers.push_back(parse_number("an argument", arguments[i]));
        }
    }
    if (!numbers.empty()) options.threads = numbers[0];
    if (numbers.size() > 1 && numbers.size() % 2 == 0) throw std::invalid_argument("a shape needs ROWS and COLUMNS");
    for (std::size_t i = 1; i < numbers.size(); i += 2) options.shapes.push_back({numbers[i], numbers[i + 1]});
    if (options.shapes.empty()) options.shapes = {{3840, 2560}, {2560, 2560}, {6912, 2560}, {2560, 6912}};
    for (const MatrixShape& shape : options.shapes) {
        const std::string name = std::to_string(shape.out) + " x " + std::to_string(shape.in);
        if (shape.out % 4 != 0) throw std::invalid_argument("the rows of " + name + " must be a multiple of 4");
        const std::size_t largest = std::max({bytes_of(shape, TernaryForm::stored), bytes_of(shape, TernaryForm::dense),
                                              bytes_of(shape, TernaryForm::grouped)});
        if (largest > options.bytes)
            throw std::invalid_argument("a matrix of " + name + " does not fit the memory; raise --megabytes");
    }
    return options;
}

// One product, repeated for every matrix that `bytes` of weights hold. Each thread has its share of the rows and goes
// through all matrices by itself, without waiting for the others between two of them.
class Product {
  public:
    Product(const Kernels& kernels, const std::uint8_t* weights, TernaryForm form, MatrixShape shape,
            const Options& options)
        : kernels_(kernels),
          weight_{weights, shape.out, shape.in, 1.0f, form, kGroup},
          bytes_(bytes_of(shape, form)),
          matrices_(options.bytes / bytes_),
          threads_(options.threads),
          y_(shape.out),
          values_(round_up(shape.in, 64)),
          scales_(shape.in / kGroup + 1),
          sums_(shape.in / kGroup + 1) {
        std::vector<float> x(shape.in);
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(static_cast<int>(i * 37 % 255) - 127);
        if (form == TernaryForm::grouped) {
            kernels.quantize_groups(x.data(), x.size(), kGroup, values_.data(), scales_.data(), sums_.data());
        } else {
            kernels.quantize(x.data(), x.size(), values_.data(), scales_.data(), sums_.data());
        }
    }

    std::size_t bytes() const { return bytes_; }

    // Seconds a product: the median of the rounds.
    double measure(std::size_t rounds) {
        ThreadTeam team(threads_);
        std::vector<double> times;
        for (std::size_t round = 0; round < rounds; ++round) {
            const auto start = std::chrono::steady_clock::now();
            team.run(*this, 1, threads_);
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            times.push_back(time.count() / static_cast<double>(matrices_));
        }
        const auto median = times.begin() + static_cast<std::ptrdiff_t>(rounds / 2);
        std::nth_element(times.begin(), median, times.end());
        return *median;
    }

    // What ThreadTeam calls: one work item for each thread.
    std::size_t begin(std::size_t, std::size_t) { return threads_; }
    void run(std::size_t, std::size_t, std::size_t item) {
        const Range rows = part(byte_rows(weight_), 4, item, threads_);
        const Activations x{values_.data(), round_up(weight_.in, 64), scales_.data(), sums_.data(), 1};
        for (std::size_t m = 0; m < matrices_; ++m) {
            TernaryMatrix weight = weight_;
            weight.packed += m * bytes_;
            kernels_.linear(weight, x, rows.begin, rows.end, y_.data(), weight.out);
        }
    }

  private:
    const Kernels& kernels_;
    const TernaryMatrix weight_;
    const std::size_t bytes_, matrices_, threads_;  // bytes of one matrix
    Buffer<float> y_;
    Buffer<std::int8_t> values_;
    Buffer<float> scales_;
    Buffer<std::int32_t> sums_;
};

// Prints the line of one instruction set, form and shape.
void measure(const Kernels& kernels, TernaryForm form, MatrixShape shape, const std::uint8_t* weights,
             const char* placement, const Options& options) {
    Product product(kernels, weights, form, shape, options);
    const double time = product.measure(options.rounds), rate = static_cast<double>(product.bytes()) / time;
    // Measured beside each line, as other work on the machine may change it from one minute to the next.
    const std::vector<double> passes = measure_read_bandwidth(options.threads, options.bytes, 3);
    const double roof = *std::max_element(passes.begin(), passes.end());
    std::printf("%-12s %-7s %5zu x %5zu  %s  %5.1f us  %5.1f GB/s of %5.1f: %3.0f %%\n", kernels.name, name_of(form),
                shape.out, shape.in, placement, 1e6 * time, rate / 1e9, roof / 1e9, 100 * rate / roof);
    std::fflush(stdout);
}

void measure_all(const Options& options) {
    for (const bool huge : {false, true}) {
        const LazyMemory memory(options.bytes + 64, "weights");  // huge pages unless told otherwise
        if (!huge) madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
        std::memset(memory.data(), 0x61, memory.size());  // the weights 0, -1, 1, 0
        for (const std::size_t offset : {0, 33}) {        // aligned, and as a mapped file may be
            char placement[64];
            std::snprintf(placement, sizeof placement, "%s pages  offset %2zu", huge ? "2 MB" : "4 KB", offset);
            const auto* weights = static_cast<const std::uint8_t*>(memory.data()) + offset;
            for (const Kernels* kernels : available_kernels()) {
                if (kernels == scalar_kernels()) continue;
                for (const TernaryForm form : {TernaryForm::stored, TernaryForm::dense, TernaryForm::grouped}) {
                    for (const MatrixShape& shape : options.shapes)
                        if (has_form(*kernels, form, shape))
                            measure(*kernels, form, shape, weights, placement, options);
                }
            }
        }
    }
}

}  // namespace

int main(int count, char** arguments) {
    try {
        const Options options = parse(count, arguments);
        if (options.help) {
            std::fputs(kUsage, stdout);
        } else {
            measure_all(options);
        }
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "gemv: %s; see gemv --help\n", error.what());
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gemv: %s\n", error.what());
        return 1;
    }
    return 0;
}
