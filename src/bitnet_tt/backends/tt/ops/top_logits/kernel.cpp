// The greatest logits of each row, found separately in every core's part of the vocabulary: logits [1, 1, 32, vocab] of
// float32 tiles. Page i of the result has part i's: for each row its `count` greatest as pairs of bits and token id, by
// falling logit, of equal ones the lowest ids; a part with fewer ends with ids of 0xFFFFFFFF.
//
// Common arguments: addresses of logits and result; rows; count; vocab.
// Compile-time arguments: cores, cores in a row of the grid, tiles of a part, tiles read at once, bytes of a page,
// accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

constexpr uint32_t TILE = 32, FACE = 16, NONE = 0xFFFFFFFF;
constexpr uint32_t FACE_ROW = FACE * 4, TILE_BYTES = TILE * TILE * 4;

struct Entry {
    uint32_t bits;
    uint32_t token_id;
};

// Floats as integers of the same order; both zeros are equal.
static inline int32_t rank_of(uint32_t bits) {
    const int32_t value = static_cast<int32_t>(bits);
    return value >= 0 ? value : static_cast<int32_t>(0x80000000 - bits);
}

void kernel_main() {
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t part = get_compile_time_arg_val(2);
    constexpr uint32_t batch = get_compile_time_arg_val(3);
    constexpr uint32_t page = get_compile_time_arg_val(4);
    constexpr auto logits_args = TensorAccessorArgs<5>();
    constexpr auto result_args = TensorAccessorArgs<logits_args.next_compile_time_args_offset()>();

    const uint32_t rows = get_common_arg_val<uint32_t>(2);
    const uint32_t count = get_common_arg_val<uint32_t>(3);
    const uint32_t vocab = get_common_arg_val<uint32_t>(4);
    const auto logits = TensorAccessor(logits_args, get_common_arg_val<uint32_t>(0), TILE_BYTES);
    const auto result = TensorAccessor(result_args, get_common_arg_val<uint32_t>(1), page);
    const uint32_t pieces = get_write_ptr(0), answer = get_write_ptr(1);

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    const uint32_t tiles = (vocab + TILE - 1) / TILE, first = core * part;
    if (first >= tiles) {
        return;
    }
    const uint32_t end = first + part < tiles ? first + part : tiles;
    uint32_t found[TILE];
    int32_t least[TILE];
    for (uint32_t row = 0; row < rows; ++row) {
        found[row] = 0;
    }
    for (uint32_t begin = first; begin < end; begin += batch) {
        const uint32_t here = begin + batch < end ? batch : end - begin;
        for (uint32_t tile = 0; tile < here; ++tile) {
            for (uint32_t row = 0; row < rows; ++row) {
                const uint32_t from = (row / FACE * 2 * FACE + row % FACE) * FACE_ROW;
                const uint32_t to = pieces + (row * batch + tile) * 2 * FACE_ROW;
                noc_async_read(logits.get_noc_addr(begin + tile, from), to, FACE_ROW);
                noc_async_read(logits.get_noc_addr(begin + tile, from + FACE * FACE_ROW), to + FACE_ROW, FACE_ROW);
            }
        }
        noc_async_read_barrier();
        const uint32_t past = (begin + here) * TILE < vocab ? here * TILE : vocab - begin * TILE;
        for (uint32_t row = 0; row < rows; ++row) {
            const auto values = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(pieces + row * batch * 2 * FACE_ROW);
            const auto entries = reinterpret_cast<volatile tt_l1_ptr Entry*>(answer + row * count * sizeof(Entry));
            for (uint32_t column = 0; column < past; ++column) {
                const uint32_t bits = values[column];
                const int32_t rank = rank_of(bits);
                if (found[row] == count && rank <= least[row]) {
                    continue;
                }
                uint32_t place = found[row] < count ? found[row]++ : count - 1;
                for (; place > 0 && rank_of(entries[place - 1].bits) < rank; --place) {
                    entries[place].bits = entries[place - 1].bits;
                    entries[place].token_id = entries[place - 1].token_id;
                }
                entries[place].bits = bits;
                entries[place].token_id = begin * TILE + column;
                least[row] = rank_of(entries[found[row] - 1].bits);
            }
        }
    }
    for (uint32_t row = 0; row < rows; ++row) {
        for (uint32_t place = found[row]; place < count; ++place) {
            reinterpret_cast<volatile tt_l1_ptr Entry*>(answer)[row * count + place].token_id = NONE;
        }
    }
    noc_async_write(answer, result.get_noc_addr(core), page);
    noc_async_write_barrier();
}
