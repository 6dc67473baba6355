// Scales rows of a product of q, k and v and rotates their heads to their positions, on the vector unit in float32.
//
// Common arguments: rows.
// Compile-time arguments: cores, cores in a row of the grid, pages of a row.
#include <stdint.h>

#include "api/compute/cb_api.h"
#include "api/compute/common.h"
#include "api/compute/compute_kernel_api.h"
#include "api/compute/compute_kernel_hw_startup.h"
#include "api/compute/eltwise_unary/rounding.h"
#include "api/compute/pack.h"
#include "api/compute/reg_api.h"
#include "api/compute/tile_move_copy.h"
#include "../common/tile.hpp"

#ifdef TRISC_MATH
namespace {

using namespace sfpi;

// Tiles of Dest, by their first vector: the row, the same with halves of heads swapped, and what they are multiplied
// by.
constexpr int X = 0, OTHER = 32, A = 64, B = 96;

void scale() {
    vFloat factor = dst_reg[B];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i] * factor;
        dst_reg[X + i] = x * dst_reg[A + i];
        vFloat other = dst_reg[OTHER + i] * factor;
        dst_reg[OTHER + i] = other * dst_reg[A + i];
    }
}

void rotate() {
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i] * dst_reg[A + i];
        dst_reg[X + i] = dst_reg[OTHER + i] * dst_reg[B + i] + x;
    }
}

}  // namespace
#endif

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t pages = get_compile_time_arg_val(2);

    const uint32_t count = get_common_arg_val<uint32_t>(0);
    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    compute_kernel_hw_startup(rows::FIRST, rows::RESULT);
    copy_init(rows::FIRST);  // all buffers that are loaded are alike
    rounding_op_tile_init();
    cb_wait_front(rows::GAIN, pages);
    for (uint32_t row = core; row < count; row += cores) {
        cb_wait_front(rows::SCALES, 1);
        cb_wait_front(rows::FIRST, pages);
        cb_wait_front(rows::SECOND, pages);
        cb_wait_front(rows::COSINES, pages);
        cb_wait_front(rows::SINES, pages);
        cb_reserve_back(rows::RESULT, pages);
        for (uint32_t page = 0; page < pages; ++page) {
            tile_regs_acquire();
            copy_tile(rows::FIRST, page, 0);
            copy_tile(rows::SECOND, page, 1);
            copy_tile(rows::GAIN, page, 2);
            copy_tile(rows::SCALES, 0, 3);
            MATH((_llk_math_eltwise_unary_sfpu_params_(scale, 0, VectorMode::RC_custom)));
            copy_tile(rows::COSINES, page, 2);
            copy_tile(rows::SINES, page, 3);
            MATH((_llk_math_eltwise_unary_sfpu_params_(rotate, 0, VectorMode::RC_custom)));
            tile_regs_commit();
            tile_regs_wait();
            pack_tile(0, rows::RESULT);
            tile_regs_release();
        }
        cb_push_back(rows::RESULT, pages);
        cb_pop_front(rows::SCALES, 1);
        cb_pop_front(rows::FIRST, pages);
        cb_pop_front(rows::SECOND, pages);
        cb_pop_front(rows::COSINES, pages);
        cb_pop_front(rows::SINES, pages);
    }
}
