// Bring the rows, the norm's gain, and the operands of the epilogue to a core, and write its columns of the result.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/stream.hpp"
#include "../common/strips.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t ROW = BUFFER("row"), GAIN = BUFFER("gain"), SCALES = BUFFER("scales");
constexpr uint32_t RESIDUAL = BUFFER("residual"), RESULT = BUFFER("result");

constexpr bool GATES = CONSTANT("gates"), ADDS = CONSTANT("adds");
constexpr uint32_t FEATURES = CONSTANT("depth") * tile::SIDE, PAGES = CONSTANT("pages");
constexpr uint32_t GAIN_BYTES = (FEATURES + rows::PAGE - 1) / rows::PAGE * rows::PAGE * 4;
constexpr uint32_t COLUMNS = CONSTANT("columns"), PASSES = CONSTANT("passes");
constexpr uint32_t RESULTS = GATES ? COLUMNS / 2 : COLUMNS;
constexpr uint32_t WIDTH = CONSTANT("width");  // tiles of a row of the result

constexpr uint32_t LINES = CONSTANT("lines");  // rows
constexpr uint32_t STRIP_BYTES = strips::BYTES<LINES>;

// The vectors 2 * i and 2 * i + 1 of a page are lines 4 * i to 4 * i + 3 (common/vectors.hpp): 64 elements.
constexpr uint32_t PAIR = 64;

// Which of the matrices that stand side by side has a column of the result, for a product without a gate.
static inline uint32_t scale_of(uint32_t column) {
    if (column < ARGUMENT("second")) {
        return ARGUMENT("first_scale_bits");
    }
    return column < ARGUMENT("third") ? ARGUMENT("second_scale_bits") : ARGUMENT("third_scale_bits");
}

// Fill the page of scales of a pass: four equal vectors for each tile.
static inline void fill_scales(uint32_t first, uint32_t to) {
    const rows::Words words = rows::words_at(to);
    for (uint32_t tile = 0; tile < COLUMNS; ++tile) {
        uint32_t scale;
        if constexpr (GATES) {
            scale = tile < RESULTS ? ARGUMENT("first_scale_bits") : ARGUMENT("second_scale_bits");
        } else {
            scale = scale_of(first + tile);
        }
        for (uint32_t index = 0; index < 2 * PAIR; ++index) {
            words[tile * 2 * PAIR + index] = scale;
        }
    }
}

// Start to read the residual stream of the tiles from `first` on; the result may be a part of its columns. A run of 16
// elements of one row has the place of four lines, as the vector unit needs it.
template <typename Accessor>
static inline void read_residual(const Accessor& residual, uint32_t first, uint32_t to) {
    const uint32_t origin = ARGUMENT("residual_begin");
    const uint32_t begin = origin + first * tile::SIDE;
    const uint32_t end = origin + (first + RESULTS < WIDTH ? first + RESULTS : WIDTH) * tile::SIDE;
    if constexpr (LINES > 1) {
        strips::read<LINES>(residual, begin, end, to);
    } else {
        for (uint32_t element = begin; element < end; element += strips::RUN) {
            strips::read<LINES>(residual, element, element + strips::RUN, to);
            to += PAIR * 4;
        }
    }
}

void kernel_main() {
    const auto x = TENSOR("x", STRIP_BYTES);
    const auto gain = TENSOR("gain", GAIN_BYTES);
    const auto residual = TENSOR("residual", STRIP_BYTES);
    const auto result = TENSOR("result", STRIP_BYTES);
    if (stream::mine() == stream::NONE) {
        return;
    }
    cb_reserve_back(ROW, PAGES);
    strips::read<LINES>(x, 0, FEATURES, get_write_ptr(ROW));
    if constexpr (HAS_TENSOR("gain")) {
        cb_reserve_back(GAIN, PAGES);
        noc_async_read(gain.get_noc_addr(0), get_write_ptr(GAIN), GAIN_BYTES);
    }
    rows::fill(ROW, FEATURES * LINES, PAGES, 0);
    noc_async_read_barrier();
    cb_push_back(ROW, PAGES);
    if constexpr (HAS_TENSOR("gain")) {
        cb_push_back(GAIN, PAGES);
    }

    const uint32_t first = stream::mine() * PASSES * RESULTS;
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        cb_reserve_back(SCALES, 1);
        fill_scales(first + pass * RESULTS, get_write_ptr(SCALES));
        cb_push_back(SCALES, 1);
        if constexpr (ADDS) {
            cb_reserve_back(RESIDUAL, 1);
            read_residual(residual, first + pass * RESULTS, get_write_ptr(RESIDUAL));
            noc_async_read_barrier();
            cb_push_back(RESIDUAL, 1);
        }
    }
    for (uint32_t pass = 0; pass < PASSES; ++pass) {
        cb_wait_front(RESULT, RESULTS);
        const uint32_t begin = first + pass * RESULTS, end = begin + RESULTS < WIDTH ? begin + RESULTS : WIDTH;
        if (begin < end) {
            strips::write<LINES>(result, begin * tile::SIDE, end * tile::SIDE, get_read_ptr(RESULT));
        }
        noc_async_write_barrier();
        cb_pop_front(RESULT, RESULTS);
    }
}
