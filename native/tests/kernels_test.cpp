// Every kernel table that this processor can run gives the bits of the scalar table.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/check.hpp"
#include "tests/random.hpp"

namespace bitnet {

namespace {

// The dense form of a stored matrix, if the kernels have one, packed in two halves at an odd address.
struct DenseCopy {
    DenseCopy(const Kernels& kernels, const TernaryMatrix& stored) : weight(stored) {
        if (kernels.pack_dense == nullptr) return;
        weight.form = TernaryForm::dense;
        const std::size_t rows = byte_rows(weight);
        bytes.resize(rows * row_bytes(weight) + 1);
        weight.packed = bytes.data() + 1;
        std::vector<std::uint8_t> indices(weight.in);
        kernels.pack_dense(stored, rows / 2, rows, indices.data(), bytes.data() + 1);
        kernels.pack_dense(stored, 0, rows / 2, indices.data(), bytes.data() + 1);
    }
    TernaryMatrix weight;
    std::vector<std::uint8_t> bytes;
};

// The products equal a plain sum over codes, in both forms. There are 4 * quarter outputs.
void test_linear(std::size_t quarter, std::size_t in, std::size_t tokens) {
    const std::string sizes = std::to_string(quarter) + " x " + std::to_string(in) + " x " + std::to_string(tokens);
    Random random;
    const std::vector<std::uint8_t> codes = random.codes(quarter * in + 1);
    const std::size_t out = 4 * quarter;
    const TernaryMatrix stored{codes.data() + 1, out, in, 1.0f, TernaryForm::stored};  // at an odd address
    for (const Kernels* kernels : tables()) {
        Random again;
        const Rows rows(again, *kernels, tokens, in);
        std::vector<float> expected(tokens * out), sums(tokens * out, 0.5f);
        for (std::size_t t = 0; t < tokens; ++t)
            for (std::size_t o = 0; o < out; ++o) {
                std::int32_t sum = 0;
                for (std::size_t c = 0; c < in; ++c)
                    sum += ((stored.packed[o % quarter * in + c] >> (2 * (o / quarter)) & 3) - 1) *
                           rows.values[t * rows.stride + c];
                expected[t * out + o] = static_cast<float>(sum) * (1.0f / rows.scales[t]);
                sums[t * out + o] += expected[t * out + o];
            }
        const DenseCopy dense(*kernels, stored);
        std::vector<TernaryMatrix> forms = {stored};
        if (kernels->pack_dense != nullptr) forms.push_back(dense.weight);
        for (const TernaryMatrix& weight : forms) {
            const std::string what =
                std::string(kernels->name) + (weight.form == TernaryForm::dense ? " dense " : " ") + sizes;
            const std::size_t last = byte_rows(weight);
            std::vector<float> y(tokens * out), gated(tokens * out);
            kernels->linear(weight, rows.view(), 0, last, y.data(), out);
            expect(identical(y, expected), what + " linear");
            note(*kernels, y);
            y.assign(y.size(), 0.5f);
            kernels->linear_add(weight, rows.view(), 0, last / 2, y.data(), out);  // in two parts
            kernels->linear_add(weight, rows.view(), last / 2, last, y.data(), out);
            expect(identical(y, sums), what + " linear_add");
            for (HiddenAct act : {HiddenAct::relu2, HiddenAct::silu}) {
                kernels->gate_up(weight, rows.view(), weight, rows.view(), act, 0, last, y.data(), out);
                scalar_kernels()->gate_up(stored, rows.view(), stored, rows.view(), act, 0, quarter, gated.data(), out);
                expect(identical(y, gated), what + " gate_up");
                note(*kernels, y);
            }
        }
    }
}

// The product is exact at the largest sums that the CPU backend allows: 2^20 columns, all weights 1, all values 127.
void test_largest_sums() {
    constexpr std::size_t kColumns = std::size_t{1} << 20;
    const std::vector<std::uint8_t> codes(kColumns, 0xaa);  // four times code 2
    const TernaryMatrix stored{codes.data(), 4, kColumns, 1.0f, TernaryForm::stored};
    for (const Kernels* kernels : tables()) {
        const Rows rows(std::vector<float>(kColumns, 1.0f), *kernels, 1, kColumns);
        const std::vector<float> expected(4, static_cast<float>(127 * kColumns) * (1.0f / rows.scales[0]));
        const DenseCopy dense(*kernels, stored);
        for (const TernaryMatrix& weight : {stored, dense.weight}) {
            std::vector<float> y(4);
            kernels->linear(weight, rows.view(), 0, byte_rows(weight), y.data(), 4);
            expect(identical(y, expected), std::string(kernels->name) + " largest sums");
        }
    }
}

// The value of a float16 that is finite.
double float16_value(const std::uint8_t* bytes) {
    const int bits = bytes[0] | bytes[1] << 8, exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double size = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    return (bits & 0x8000) != 0 ? -size : size;
}

// Products and rows of a matrix in the grouped form are those that grouped.hpp defines, computed weight by weight.
void test_grouped(std::size_t out, std::size_t groups, std::size_t group, std::size_t tokens) {
    const std::string sizes = " grouped " + std::to_string(out) + " x " + std::to_string(groups) + " x " +
                              std::to_string(group) + ", tokens " + std::to_string(tokens);
    Random random;
    const std::size_t in = groups * group;
    std::vector<std::uint8_t> bytes = random.grouped(out, in, group);
    bytes.insert(bytes.begin(), 0);  // the matrix begins at an odd address
    const TernaryMatrix weight{bytes.data() + 1, out, in, 0.0f, TernaryForm::grouped, group};
    const std::vector<float> x = random.floats(tokens * in, 3.0f);
    const auto record = [&](std::size_t o, std::size_t g) {
        return weight.packed + (o / kBlockRows * groups + g) * group_bytes(group);
    };
    const auto scale = [&](std::size_t o, std::size_t g) {
        return static_cast<float>(float16_value(record(o, g) + 2 * (o % kBlockRows)));
    };
    const auto value = [&](std::size_t o, std::size_t c) {
        const std::size_t i = c % group;
        const std::uint8_t* word = record(o, c / group) + 32 + i / 16 * 64 + 4 * (o % kBlockRows);
        return (word[i % 16 / 4] >> (2 * (i % 4)) & 3) - 1;
    };
    std::vector<float> expected(tokens * out), rows(out * in);
    for (std::size_t o = 0; o < out; ++o)
        for (std::size_t c = 0; c < in; ++c) rows[o * in + c] = static_cast<float>(value(o, c)) * scale(o, c / group);
    for (std::size_t t = 0; t < tokens; ++t)
        for (std::size_t g = 0; g < groups; ++g) {
            const float* columns = x.data() + t * in + g * group;
            const Rows q(std::vector<float>(columns, columns + group), *scalar_kernels(), 1, group);
            for (std::size_t o = 0; o < out; ++o) {
                std::int32_t sum = 0;
                for (std::size_t c = 0; c < group; ++c) sum += value(o, g * group + c) * q.values[c];
                float& y = expected[t * out + o];
                y = std::fma(static_cast<float>(sum), scale(o, g) * (1.0f / q.scales[0]), y);
            }
        }
    for (const Kernels* kernels : tables()) {
        std::vector<std::int8_t> values(tokens * in);
        std::vector<float> units(tokens * groups), y(tokens * out), wide(out * in);
        std::vector<std::int32_t> sums(tokens * groups);
        for (std::size_t t = 0; t < tokens; ++t)
            kernels->quantize_groups(x.data() + t * in, in, group, values.data() + t * in, units.data() + t * groups,
                                     sums.data() + t * groups);
        const Activations activations{values.data(), in, units.data(), sums.data(), tokens};
        const std::size_t last = byte_rows(weight);
        kernels->linear(weight, activations, 0, last / 2, y.data(), out);
        kernels->linear(weight, activations, last / 2, last, y.data(), out);
        expect(identical(y, expected), kernels->name + sizes);
        note(*kernels, y);
        for (std::size_t o = 0; o < out; ++o) kernels->widen_grouped(weight, o, wide.data() + o * in);
        expect(identical(wide, rows), std::string(kernels->name) + " rows of" + sizes);
        note(*kernels, wide);
    }
}

// Norm, bfloat16, RoPE and logits of vectors of n floats are the same bits for all tables.
void test_floats(std::size_t n) {
    std::vector<std::vector<float>> results;
    for (const Kernels* kernels : tables()) {
        Random random;
        const std::vector<float> x = random.floats(3 * n, 4.0f), gain = random.floats(n, 0.5f, 1.0f);
        const std::vector<std::uint8_t> table = random.bfloat16(37 * n);
        std::vector<float> all(n);
        kernels->rmsnorm(x.data(), gain.data(), 1e-5f, n, all.data());
        std::vector<float> wide(n), rotated(2 * (n / 2)), logits(3 * 37);
        kernels->widen(table.data() + 1, n, wide.data());
        kernels->rope(x.data(), gain.data(), x.data() + n, n / 2, rotated.data());
        kernels->logits(table.data() + 1, n, 37, x.data(), n, 3, logits.data(), 37);
        for (const auto* part : {&wide, &rotated, &logits}) all.insert(all.end(), part->begin(), part->end());
        results.push_back(all);
        note(*kernels, all);
        expect(identical(results[0], all), std::string(kernels->name) + " float kernels of " + std::to_string(n));
    }
}

}  // namespace

void test_kernels() {
    for (std::size_t tokens : {1, 2, 3, 4, 5, 6, 7, 13}) test_linear(21, 147, tokens);
    for (std::size_t in : {1, 16, 63, 64, 65, 640, 1300, 2600}) test_linear(18, in, 5);
    test_largest_sums();
    for (std::size_t tokens : {1, 2, 3, 4, 5, 9}) test_grouped(37, 3, 128, tokens);
    for (std::size_t out : {1, 16, 64}) test_grouped(out, 5, 64, 2);
    for (std::size_t n : {2, 15, 16, 17, 100, 513}) test_floats(n);
}

}  // namespace bitnet
