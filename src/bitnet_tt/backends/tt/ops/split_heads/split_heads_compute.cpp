// Scale a row of the product of q, k and v, and rotate its heads to the row's position, on the vector unit.
//
// Everything comes in pages of 1024 elements of the row: x, x with the halves of each head swapped, cosines and signed
// sines.
#include <stdint.h>

#include "../common/rotate.hpp"
#include "../common/vectors.hpp"
#include "../common/work.hpp"

constexpr uint32_t ROW = BUFFER("row"), SWAPPED = BUFFER("swapped"), SCALES = BUFFER("scales");
constexpr uint32_t FACTOR = BUFFER("factor"), COSINES = BUFFER("cosines"), SINES = BUFFER("sines");
constexpr uint32_t ROTATED = BUFFER("rotated");

constexpr uint32_t PAGES = CONSTANT("pages");  // of a row

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

// Tiles of Dest, by their first vector: the row, the row with swapped halves, and two factors.
constexpr int X = 0, OTHER = 1 * vectors::PER_TILE, A = 2 * vectors::PER_TILE, B = 3 * vectors::PER_TILE;

// Multiply x and other by the row's factor (the same in all lanes of B's first vector), then by the column scales in A.
void scale() {
    vFloat factor = dst_reg[B];
#pragma GCC unroll 32
    for (int i = 0; i < vectors::PER_TILE; ++i) {
        vFloat x = dst_reg[X + i] * factor;
        dst_reg[X + i] = x * dst_reg[A + i];
        vFloat other = dst_reg[OTHER + i] * factor;
        dst_reg[OTHER + i] = other * dst_reg[A + i];
    }
}

}  // namespace
#endif

namespace {

ALWI void make_page(uint32_t page) {
    constexpr uint32_t x = 0, other = 1, a = 2, b = 3;  // tiles of Dest
    tile_regs_acquire();
    copy_tile(ROW, page, x);
    copy_tile(SWAPPED, page, other);
    copy_tile(SCALES, page, a);
    copy_tile(FACTOR, 0, b);
    ON_VECTORS(scale);
    copy_tile(COSINES, page, a);
    copy_tile(SINES, page, b);
    ON_VECTORS(rotate<X, OTHER, A, B, vectors::PER_TILE, vectors::PER_TILE>);
    tile_regs_commit();
    tile_regs_wait();
    pack_tile(x, ROTATED);
    tile_regs_release();
}

}  // namespace

void kernel_main() {
    const work::Items items(ARGUMENT("rows"));
    if (items.empty()) {
        return;
    }
    vectors::start(ROW, ROTATED);
    cb_wait_front(SCALES, PAGES);  // stay for all rows
    for ([[maybe_unused]] const uint32_t row : items) {
        cb_wait_front(FACTOR, 1);
        cb_wait_front(ROW, PAGES);
        cb_wait_front(SWAPPED, PAGES);
        cb_wait_front(COSINES, PAGES);
        cb_wait_front(SINES, PAGES);
        cb_reserve_back(ROTATED, PAGES);
        for (uint32_t page = 0; page < PAGES; ++page) {
            make_page(page);
        }
        cb_push_back(ROTATED, PAGES);
        cb_pop_front(FACTOR, 1);
        cb_pop_front(ROW, PAGES);
        cb_pop_front(SWAPPED, PAGES);
        cb_pop_front(COSINES, PAGES);
        cb_pop_front(SINES, PAGES);
    }
}
