// The native test program. It promises: every kernel table that this processor can run gives the bits of the scalar
// table; steps of random models give the same bits for every table, number of threads and chunking; steps allocate
// nothing. It prints a digest of the scalar results, which must be the same on every architecture;
// tests/backends/cpu/test_native.py compares it under an emulator.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "decoder/decoder.hpp"
#include "kernels/select.hpp"
#include "tests/random.hpp"

namespace {

using namespace bitnet;

// Counts allocations. Native code allocates by operator new and by aligned_alloc; the linker's option --wrap sends
// calls of aligned_alloc to __wrap_aligned_alloc.
std::atomic<std::size_t> allocations{0};

}  // namespace

extern "C" {
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
    ++allocations;
    return __real_aligned_alloc(alignment, size);
}
}

// Not inlined: otherwise the compiler sees free() called on memory from new, and warns.
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    void* p = std::malloc(size);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace {

int failures = 0;
std::uint64_t digest = 14695981039346656037u;

// Adds results to the digest (FNV-1a), but only those of the scalar table, which every architecture has.
void note(const Kernels& kernels, const std::vector<float>& values) {
    if (&kernels != scalar_kernels()) return;
    for (float value : values) {
        std::uint32_t bits;
        std::memcpy(&bits, &value, 4);
        digest = (digest ^ bits) * 1099511628211u;
    }
}

void expect(bool same, const std::string& what) {
    if (same) return;
    std::printf("FAILED: %s\n", what.c_str());
    ++failures;
}

bool identical(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

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
    for (const Kernels* kernels : available_kernels()) {
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

// Norm, bfloat16, RoPE and logits of vectors of n floats are the same bits for all tables.
void test_floats(std::size_t n) {
    std::vector<std::vector<float>> results;
    for (const Kernels* kernels : available_kernels()) {
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

// More than one chunk of the decoder, which is 256 tokens.
constexpr std::size_t kTokens = 260;

// Returns logits of all kTokens tokens of a random text, computed `step` tokens at a time with cache blocks in mixed
// order.
std::vector<float> run(const Model& model, const Kernels& kernels, std::size_t threads, std::size_t step) {
    constexpr std::size_t kBlock = 8;
    Random random;
    std::vector<std::int32_t> ids(kTokens), blocks(kTokens / kBlock + 1), rows(kTokens);
    for (std::size_t i = 0; i < kTokens; ++i) ids[i] = static_cast<std::int32_t>(random.bits() % model.shape.vocab);
    for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<std::int32_t>(i * 5 % blocks.size());
    for (std::size_t i = 0; i < kTokens; ++i) rows[i] = static_cast<std::int32_t>(i);
    Decoder decoder(model, kernels, threads, 0);  // all threads, however little there is to do
    decoder.allocate(blocks.size(), kBlock);
    std::vector<float> logits(kTokens * model.shape.vocab);
    for (std::size_t begin = 0; begin < kTokens; begin += step) {
        const std::size_t count = begin + step < kTokens ? step : kTokens - begin;
        const std::int32_t starts[2] = {0, static_cast<std::int32_t>(count)};
        const std::int32_t position = static_cast<std::int32_t>(begin);
        decoder.forward(
            {ids.data() + begin, count, starts, &position, 1, blocks.data(), blocks.size(), rows.data(), count},
            logits.data() + begin * model.shape.vocab);
    }
    return logits;
}

// Every position of every head has its own place in the cache, and the places of neighbouring blocks are mostly
// adjacent.
void test_cache() {
    Shape shape{};
    shape.layers = 2;
    shape.kv_heads = 3;
    shape.head_dim = 20;
    constexpr std::size_t kBlocks = 70, kBlock = 8;
    KVCache cache(shape, kBlocks, kBlock);
    std::set<const float*> places;
    std::size_t adjacent = 0;
    for (std::size_t layer = 0; layer < shape.layers; ++layer)
        for (std::size_t head = 0; head < shape.kv_heads; ++head)
            for (float* base : {cache.keys(layer, head), cache.values(layer, head)})
                for (std::int32_t block = 0; block < static_cast<std::int32_t>(kBlocks); ++block) {
                    const std::int32_t table[] = {block, block + 1};
                    for (std::size_t slot = 0; slot < kBlock; ++slot)
                        for (std::size_t i = 0; i < shape.head_stride(); ++i)
                            places.insert(base + cache.offset(table, slot) + i);
                    adjacent += cache.offset(table, kBlock) - cache.offset(table, 0) == kBlock * shape.head_stride();
                }
    const std::size_t heads = shape.layers * shape.kv_heads * 2;
    expect(places.size() == heads * kBlocks * kBlock * shape.head_stride(), "places of the cache are distinct");
    expect(adjacent >= heads * kBlocks * 9 / 10, "blocks of the cache are adjacent");
}

// The screen's bounds are upper bounds, close enough to be useful, and closer if the rows are quantised twice.
void test_screen(std::size_t vocab, std::size_t in, std::size_t tokens) {
    Random random;
    const std::vector<std::uint8_t> table = random.bfloat16(vocab * in);
    for (const Kernels* kernels : available_kernels()) {
        const std::string what =
            std::string(kernels->name) + " screen of " + std::to_string(vocab) + " for " + std::to_string(tokens);
        Rows rows(random, *kernels, tokens, in);
        const Rows fine(rows.residual(), *kernels, tokens, in);
        const std::vector<float> fine_residual = fine.residual();
        std::vector<float> logits(tokens * vocab);
        kernels->logits(table.data() + 1, in, vocab, rows.x.data(), in, tokens, logits.data(), vocab);
        std::vector<ScreenQuery> coarse_queries, fine_queries;
        for (std::size_t t = 0; t < tokens; ++t) {
            const auto norm = [&](const std::vector<float>& numbers) {
                double squares = 0.0;
                for (std::size_t i = 0; i < in; ++i) squares += double{numbers[t * in + i]} * numbers[t * in + i];
                return std::sqrt(squares) * 1.0001;
            };
            const double whole = norm(rows.x);
            ScreenQuery query{1.0f / rows.scales[t],
                              1.0f / fine.scales[t],
                              static_cast<float>(whole),
                              static_cast<float>(norm(fine.x) + 1e-5 * whole),
                              -1e30f,
                              0.0f,
                              0.0f};
            coarse_queries.push_back(query);
            query.rounding = static_cast<float>(norm(fine_residual) + 1e-5 * whole);
            fine_queries.push_back(query);
        }
        rows.append(fine);
        Screen screen(vocab, in);
        const auto sums = std::make_unique<ScreenSums[]>(2 * tokens);
        std::size_t seen = 0;
        for (std::size_t block = 0; block < screen.blocks(); ++block) {
            expect(screen.pack(*kernels, {table.data() + 1, in}, block, nullptr), what + " is finite");
            std::vector<ScreenBounds> coarse(tokens), close(tokens);
            const auto bound = [&](std::size_t values, std::vector<ScreenQuery>& queries, float threshold,
                                   std::vector<ScreenBounds>& out) {
                for (ScreenQuery& query : queries) query.threshold = threshold;
                Activations x = rows.view();
                x.tokens = values;
                kernels->screen_bounds(screen.block(block), x, tokens, queries.data(), sums.get(), out.data());
            };
            bound(tokens, coarse_queries, 1e30f, coarse);
            for (const ScreenBounds& bounds : coarse)
                expect(bounds.reached == 0 && bounds.likely == 0, what + ": nothing reaches the threshold");
            bound(tokens, coarse_queries, -1e30f, coarse);
            bound(2 * tokens, fine_queries, -1e30f, close);
            for (std::size_t t = 0; t < tokens; ++t)
                for (std::size_t i = 0; i < Screen::kLanes; ++i) {
                    const std::int32_t id = screen.id(block, i / Screen::kBlockRows, i % Screen::kBlockRows);
                    if (id < 0) continue;
                    ++seen;
                    const float excess = close[t].upper[i] - logits[t * vocab + static_cast<std::size_t>(id)];
                    // |w| and |x| are about sqrt(in / 3) and 3 times that; half a step of 6 bits is 1 / 63.
                    const float largest = 2.0f * static_cast<float>(in + 16) / 63.0f;
                    expect(excess >= 0.0f && excess < largest, what + ": a bound");
                    expect(coarse[t].upper[i] > close[t].upper[i], what + ": fine values bound more closely");
                    for (const ScreenBounds& bounds : {coarse[t], close[t]})
                        expect((bounds.reached & bounds.likely) >> i & 1, what + ": all reaches the threshold");
                }
        }
        expect(seen == tokens * vocab, what + ": every row once");
    }
}

// A collector that overflowed stays overflowed after a merge, even if few of all candidates pass in the end.
void test_overflow() {
    CandidateCollector few, many;
    for (CandidateCollector* collector : {&few, &many}) collector->start({0, 1.0f, 1.0f});
    for (std::size_t i = 0; i <= kMaxCandidates; ++i) many.add({0.0f, static_cast<std::int32_t>(i)});
    few.add({10.0f, 9999});
    few.merge(many);
    few.dropped_mass();
    expect(many.overflowed() && few.overflowed(), "an overflow is not forgotten");
}

// The dropped mass counts each logit that does not pass, also one that was among the candidates for a while.
void test_dropped_mass_of_a_count() {
    CandidateCollector collector;
    collector.start({2, std::numeric_limits<float>::infinity(), 1.0f});
    double expected = 0.0;
    for (std::int32_t i = 0; i < 6; ++i) {
        collector.add({static_cast<float>(i % 3), i});
        if (i != 2 && i != 5) expected += std::exp(i % 3 - 2.0);
    }
    expect(std::fabs(collector.dropped_mass() - expected) < 1e-6, "the dropped mass of a count");
}

// The candidates are the logits that pass the filter, with the bits that they have in the whole row.
void test_candidates(bool llama) {
    const RandomModel random(llama);
    const Model& model = random.model;
    const std::size_t vocab = model.shape.vocab;
    const std::int32_t ids[] = {5, 17, 3}, starts[] = {0, 1, 3}, positions[] = {0, 0}, blocks[] = {0, 1},
                       rows[] = {0, 2};
    const Batch batch{ids, 3, starts, positions, 2, blocks, 1, rows, 2};
    const LogitFilter filters[] = {{3, std::numeric_limits<float>::infinity(), 0.0f}, {0, 2.0f, 0.5f}};
    for (const Kernels* kernels : available_kernels())
        for (std::size_t threads : {1, 2, 3}) {
            Decoder decoder(model, *kernels, threads, 0);
            decoder.allocate(2, 8);
            std::vector<float> whole(2 * vocab), found(2 * kMaxCandidates), again(2 * vocab), masses(2);
            std::vector<std::int32_t> found_ids(2 * kMaxCandidates), counts(2);
            decoder.forward(batch, whole.data());
            decoder.forward_candidates(batch, filters, {found_ids.data(), found.data(), counts.data(), masses.data()});
            const std::string what = std::string(kernels->name) + " candidates";
            for (std::size_t row = 0; row < 2; ++row) {
                std::vector<float> sorted(whole.begin() + row * vocab, whole.begin() + (row + 1) * vocab);
                std::sort(sorted.begin(), sorted.end(), std::greater<>());
                const float threshold = row == 0 ? sorted[2] : sorted[0] - 2.0f;
                std::vector<std::int32_t> expected;
                for (std::size_t id = 0; id < vocab; ++id)
                    if (whole[row * vocab + id] >= threshold) expected.push_back(static_cast<std::int32_t>(id));
                const auto* first = found_ids.data() + row * kMaxCandidates;
                expect(std::vector<std::int32_t>(first, first + counts[row]) == expected, what + " ids");
                for (std::int32_t i = 0; i < counts[row]; ++i)
                    expect(found[row * kMaxCandidates + i] == whole[row * vocab + first[i]], what + " logits");
                double mass = 0.0;
                for (std::size_t id = 0; id < vocab; ++id)
                    if (whole[row * vocab + id] < threshold)
                        mass += std::exp((double{whole[row * vocab + id]} - double{sorted[0]}) / 0.5);
                if (row == 1) expect(masses[row] >= mass && masses[row] < 100.0 * mass, what + " dropped mass");
                decoder.head().logits(row, 1, again.data() + row * vocab);
            }
            expect(identical(again, whole), what + ": whole rows afterwards");
        }
}

// Steps give the same bits for every table, number of threads and number of tokens a step.
void test_steps(bool llama) {
    const RandomModel random(llama);
    const std::vector<float> expected = run(random.model, *scalar_kernels(), 1, kTokens);
    note(*scalar_kernels(), expected);
    constexpr std::size_t kSteps[] = {kTokens, 37, 1};  // on 1, 2 and 3 threads
    for (const Kernels* kernels : available_kernels())
        for (std::size_t i = 0; i < 3; ++i)
            expect(identical(run(random.model, *kernels, i + 1, kSteps[i]), expected),
                   std::string(kernels->name) + " steps of " + std::to_string(kSteps[i]));
}

// Once the buffers have grown, a step allocates nothing. Two sequences a step; whole rows and candidates in turn.
void test_allocations() {
    const RandomModel random(false);
    const LogitFilter filters[] = {{3, std::numeric_limits<float>::infinity(), 0.0f}, {0, 2.0f, 0.5f}};
    const std::int32_t starts[] = {0, 1, 2}, blocks[] = {0, 1, 2, 3}, rows[] = {0, 1}, ids[] = {5, 7};
    Decoder decoder(random.model, *available_kernels()[0], 2, 0);
    decoder.allocate(4, 16);
    std::vector<float> whole(2 * random.model.shape.vocab), found(2 * kMaxCandidates), masses(2);
    std::vector<std::int32_t> found_ids(2 * kMaxCandidates), counts(2);
    const auto step = [&](std::int32_t position) {
        const std::int32_t positions[] = {position, position};
        const Batch batch{ids, 2, starts, positions, 2, blocks, 2, rows, 2};
        decoder.forward(batch, whole.data());
        decoder.forward_candidates(batch, filters, {found_ids.data(), found.data(), counts.data(), masses.data()});
    };
    for (std::int32_t position = 0; position < 16; ++position) step(position);
    const std::size_t before = allocations.load();
    for (std::int32_t position = 16; position < 32; ++position) step(position);
    const std::size_t made = allocations.load() - before;  // the message allocates too
    expect(made == 0, "steps made " + std::to_string(made) + " allocations");
}

}  // namespace

int main() {
    for (std::size_t tokens : {1, 2, 3, 4, 5, 6, 7, 13}) test_linear(21, 147, tokens);
    for (std::size_t in : {1, 16, 63, 64, 65, 640, 1300, 2600}) test_linear(18, in, 5);
    for (std::size_t n : {2, 15, 16, 17, 100, 513}) test_floats(n);
    for (std::size_t tokens : {1, 3, 4, 7}) {
        for (std::size_t vocab : {1, 4, 63, 130}) test_screen(vocab, 200, tokens);
        for (std::size_t in : {15, 64, 147}) test_screen(70, in, tokens);
    }
    for (bool llama : {false, true}) test_steps(llama);
    test_cache();
    test_allocations();
    test_overflow();
    test_dropped_mass_of_a_count();
    for (bool llama : {false, true}) test_candidates(llama);
    std::string names;
    for (const Kernels* kernels : available_kernels()) names += std::string(" ") + kernels->name;
    if (failures == 0) std::printf("ok digest %016llx%s\n", static_cast<unsigned long long>(digest), names.c_str());
    return failures == 0 ? 0 : 1;
}
