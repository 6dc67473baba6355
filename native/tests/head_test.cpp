// The screen bounds every logit, and the candidates are exactly the logits that pass their filter.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "decoder/decoder.hpp"
#include "head/noise_range.hpp"
#include "tests/check.hpp"
#include "tests/random.hpp"

namespace bitnet {

namespace {

// The screen's bounds are upper bounds, close enough to be useful, and closer if the rows are quantised twice.
void test_screen(std::size_t vocab, std::size_t in, std::size_t tokens) {
    Random random;
    const std::vector<std::uint8_t> table = random.bfloat16(vocab * in);
    for (const Kernels* kernels : tables()) {
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
                              {},
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
                    const std::int32_t id = screen.id(block, i / kBlockRows, i % kBlockRows);
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

// A collector with noise keeps the largest logit and the largest sum with noise, even if it has no room for all.
void test_full_collector() {
    CandidateCollector few, many;
    for (CandidateCollector* collector : {&few, &many}) collector->start({1, {{1, 2}, 3, 4, 1.0f}});
    many.add({1.0f, 7, 1.0f, 1.0f});
    many.add({-9.0f, 8, 5.0f, 5.0f});
    for (std::size_t i = 0; i < 2 * kMaxCandidates; ++i)
        many.add({0.0f, static_cast<std::int32_t>(i + 100), 0.0f, 0.0f});
    few.add({0.5f, 9, 0.5f, 0.5f});
    few.merge(many);
    std::vector<std::int32_t> ids;
    for (const Candidate& candidate : few.candidates()) ids.push_back(candidate.id);
    for (std::int32_t id : {7, 8, 9})
        expect(std::find(ids.begin(), ids.end(), id) != ids.end(), "a full collector keeps what passes");
    expect(ids.size() <= kMaxCandidates && !few.overflowed(), "a full collector makes room");
    few.start({1, {{1, 2}, 3, 4, 1.0f}});
    for (std::size_t i = 0; i <= kMaxCandidates; ++i) few.add({0.0f, static_cast<std::int32_t>(i), 0.0f, 0.0f});
    expect(few.overflowed(), "a collector cannot keep so many equal logits");
}

// The noise of the kernels is not below that of any 64-bit word with the same first word, and not much above it.
void test_noise() {
    const Noise noise{{0x89ABCDEF, 0x01234567}, 77, 2, 0.5f};
    for (const std::int32_t id : {0, 1, 5000, 128255}) {
        const ScoreRange range = score_range(noise, 3.0f, id);
        expect(range.least < range.greatest && range.greatest - range.least < 1e-3f, "a range of noise is narrow");
    }
}

// The candidates are the logits that pass the filter, with the bits that they have in the whole row.
void test_candidates(bool llama) {
    const RandomModel random(llama);
    const Model& model = random.model;
    const std::size_t vocab = model.shape.vocab;
    const std::int32_t ids[] = {5, 17, 3}, starts[] = {0, 1, 3}, positions[] = {0, 0}, blocks[] = {0, 1},
                       rows[] = {0, 2};
    const Batch batch{ids, 3, starts, positions, 2, blocks, 1, rows, 2};
    const Noise noise{{5, 6}, 7, 8, 0.5f};
    const LogitFilter filters[] = {{3}, {1, noise}};
    for (const Kernels* kernels : tables())
        for (std::size_t threads : {1, 2, 3}) {
            Decoder decoder(model, *kernels, threads, 0);
            decoder.allocate(2, 8);
            std::vector<float> whole(2 * vocab), found(2 * kMaxCandidates), again(2 * vocab), upper(vocab);
            std::vector<std::int32_t> found_ids(2 * kMaxCandidates), counts(2);
            decoder.forward(batch, whole.data());
            decoder.forward_candidates(batch, filters, {found_ids.data(), found.data(), counts.data()});
            const std::string what = std::string(kernels->name) + " candidates";
            for (std::size_t row = 0; row < 2; ++row) {
                const float* logits = whole.data() + row * vocab;
                const auto* first = found_ids.data() + row * kMaxCandidates;
                const std::vector<std::int32_t> ids(first, first + counts[row]);
                for (std::int32_t i = 0; i < counts[row]; ++i)
                    expect(found[row * kMaxCandidates + i] == logits[first[i]], what + " logits");
                decoder.whole_rows(row, 1, again.data() + row * vocab);
                if (row == 0) {
                    std::vector<float> sorted(logits, logits + vocab);
                    std::sort(sorted.begin(), sorted.end(), std::greater<>());
                    std::vector<std::int32_t> expected;
                    for (std::size_t id = 0; id < vocab; ++id)
                        if (logits[id] >= sorted[2]) expected.push_back(static_cast<std::int32_t>(id));
                    expect(ids == expected, what + " ids");
                    continue;
                }
                // With noise, all that may have the largest sum is there, and the bounds hold.
                float best = -std::numeric_limits<float>::infinity();
                for (std::size_t id = 0; id < vocab; ++id)
                    best = std::max(best, score_range(noise, logits[id], static_cast<std::int32_t>(id)).least);
                decoder.head().upper_bounds(row, upper.data());
                for (std::size_t id = 0; id < vocab; ++id) {
                    const std::int32_t token = static_cast<std::int32_t>(id);
                    const bool here = std::find(ids.begin(), ids.end(), token) != ids.end();
                    expect(here || score_range(noise, logits[id], token).greatest < best, what + " of the noise");
                    expect(upper[id] >= logits[id], what + " upper bounds");
                }
            }
            expect(identical(again, whole), what + ": whole rows afterwards");
        }
}

// A mask lets only its tokens pass, and the largest of them sets the threshold. Listed logits have the bits of the row.
void test_masks() {
    const RandomModel random(false);
    const std::size_t vocab = random.model.shape.vocab;
    const std::int32_t ids[] = {5, 17, 3}, starts[] = {0, 3}, positions[] = {0}, blocks[] = {0}, rows[] = {2};
    const Batch batch{ids, 3, starts, positions, 1, blocks, 1, rows, 1};
    for (const Kernels* kernels : tables())
        for (std::size_t threads : {1, 3})
            for (std::size_t every : {2, 7, 40}) {
                std::vector<std::uint32_t> mask((vocab + 31) / 32);
                std::vector<std::int32_t> allowed;
                for (std::size_t id = 0; id < vocab; ++id)
                    if (id % every == 1) {
                        mask[id / 32] |= std::uint32_t{1} << id % 32;
                        allowed.push_back(static_cast<std::int32_t>(id));
                    }
                Decoder decoder(random.model, *kernels, threads, 0);
                decoder.allocate(1, 8);
                std::vector<float> whole(vocab), found(kMaxCandidates), listed(allowed.size());
                std::vector<std::int32_t> found_ids(kMaxCandidates);
                std::int32_t count = 0;
                decoder.forward(batch, whole.data());
                const auto logit = [&](std::int32_t id) { return whole[static_cast<std::size_t>(id)]; };
                const LogitFilter filter{2, {}, mask.data()};
                decoder.forward_candidates(batch, &filter, {found_ids.data(), found.data(), &count});
                std::vector<std::int32_t> expected = allowed;
                std::sort(expected.begin(), expected.end(),
                          [&](std::int32_t a, std::int32_t b) { return Candidate{logit(a), a}.before({logit(b), b}); });
                expected.resize(std::min<std::size_t>(expected.size(), 2));
                std::sort(expected.begin(), expected.end());
                found_ids.resize(static_cast<std::size_t>(count));
                const std::string what = std::string(kernels->name) + " every " + std::to_string(every);
                expect(found_ids == expected, what + ": allowed ids");
                decoder.forward_layers(batch);
                decoder.listed(0, allowed.data(), allowed.size(), listed.data());
                for (std::size_t i = 0; i < allowed.size(); ++i)
                    expect(listed[i] == logit(allowed[i]), what + ": listed logits");
                expect(decoder.head().computed() == allowed.size(), what + ": no other logit");
            }
}

}  // namespace

void test_head() {
    for (std::size_t tokens : {1, 3, 4, 7}) {
        for (std::size_t vocab : {1, 4, 63, 130}) test_screen(vocab, 200, tokens);
        for (std::size_t in : {15, 64, 147}) test_screen(70, in, tokens);
    }
    test_full_collector();
    test_noise();
    for (bool llama : {false, true}) test_candidates(llama);
    test_masks();
}

}  // namespace bitnet
