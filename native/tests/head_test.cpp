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
#include "kernels/select.hpp"
#include "tests/check.hpp"
#include "tests/random.hpp"

namespace bitnet {

namespace {

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
                decoder.whole_rows(row, 1, again.data() + row * vocab);
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
    for (const Kernels* kernels : available_kernels())
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
                float mass = 0.0f;
                decoder.forward(batch, whole.data());
                const auto logit = [&](std::int32_t id) { return whole[static_cast<std::size_t>(id)]; };
                float largest = -std::numeric_limits<float>::infinity();
                for (std::int32_t id : allowed) largest = std::max(largest, logit(id));
                const LogitFilter filter{0, 1.5f, 0.0f, mask.data()};
                decoder.forward_candidates(batch, &filter, {found_ids.data(), found.data(), &count, &mass});
                std::vector<std::int32_t> expected;
                for (std::int32_t id : allowed)
                    if (logit(id) >= largest - 1.5f) expected.push_back(id);
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
    test_overflow();
    test_dropped_mass_of_a_count();
    for (bool llama : {false, true}) test_candidates(llama);
    test_masks();
}

}  // namespace bitnet
