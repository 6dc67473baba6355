// Steps of random models give the same bits for every table, number of threads and chunking, and allocate nothing.
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "decoder/decoder.hpp"
#include "tests/check.hpp"
#include "tests/random.hpp"

namespace bitnet {

namespace {

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

// Steps give the same bits for every table, number of threads and number of tokens a step.
void test_steps(const RandomModel& random) {
    const Kernels& slowest = *tables().back();
    const std::vector<float> expected = run(random.model, slowest, 1, kTokens);
    note(slowest, expected);
    constexpr std::size_t kSteps[] = {kTokens, 37, 1};  // on 1, 2 and 3 threads
    for (const Kernels* kernels : tables())
        for (std::size_t i = 0; i < 3; ++i)
            expect(identical(run(random.model, *kernels, i + 1, kSteps[i]), expected),
                   std::string(kernels->name) + " steps of " + std::to_string(kSteps[i]));
}

// Once the buffers have grown, a step allocates nothing. Two sequences a step; whole rows and candidates in turn.
void test_allocations() {
    const RandomModel random(false);
    const LogitFilter filters[] = {{3}, {1, {{5, 6}, 7, 8, 0.5f}}};
    const std::int32_t starts[] = {0, 1, 2}, blocks[] = {0, 1, 2, 3}, rows[] = {0, 1}, ids[] = {5, 7};
    Decoder decoder(random.model, *tables()[0], 2, 0);
    decoder.allocate(4, 16);
    std::vector<float> whole(2 * random.model.shape.vocab), found(2 * kMaxCandidates);
    std::vector<std::int32_t> found_ids(2 * kMaxCandidates), counts(2);
    const auto step = [&](std::int32_t position) {
        const std::int32_t positions[] = {position, position};
        const Batch batch{ids, 2, starts, positions, 2, blocks, 2, rows, 2};
        decoder.forward(batch, whole.data());
        decoder.forward_candidates(batch, filters, {found_ids.data(), found.data(), counts.data()});
    };
    for (std::int32_t position = 0; position < 16; ++position) step(position);
    const std::size_t before = allocations.load();
    for (std::int32_t position = 16; position < 32; ++position) step(position);
    const std::size_t made = allocations.load() - before;  // the message allocates too
    expect(made == 0, "steps made " + std::to_string(made) + " allocations");
}

}  // namespace

void test_decoder() {
    for (bool llama : {false, true}) test_steps(RandomModel(llama));
    for (std::size_t group : {64, 128}) test_steps(RandomModel(group == 64, group));
    test_cache();
    test_allocations();
}

}  // namespace bitnet
