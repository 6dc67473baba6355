// What a row needs between two products, on the vector unit and in float32: its source put together, RMSNorm, absmax
// quantisation. Every sum and maximum has one order, whatever other rows there are.
//
// Common arguments: rows.
// Compile-time arguments: cores, cores in a row of the grid, source (0: first, 1: first + scaled second, 2: squared
// relu of first, scaled, times second, scaled, 3: likewise silu), whether to normalise, with a gain, whether to
// quantise, pages of a row, 1 / width and epsilon as bits.
#include <stdint.h>

#include "api/compute/cb_api.h"
#include "api/compute/common.h"
#include "api/compute/compute_kernel_api.h"
#include "api/compute/compute_kernel_hw_startup.h"
#include "api/compute/eltwise_unary/recip.h"
#include "api/compute/eltwise_unary/rounding.h"
#include "api/compute/eltwise_unary/rsqrt.h"
#include "api/compute/pack.h"
#include "api/compute/reconfig_data_format.h"
#include "api/compute/reg_api.h"
#include "api/compute/tile_move_copy.h"
#include "../common/tile.hpp"

#ifdef TRISC_MATH
#include "sfpu/ckernel_sfpu_rounding_ops.h"

namespace {

using namespace sfpi;

// Tiles of Dest, by their first vector.
constexpr int X = 0, Y = 32, STATS = 64;
// Vectors of the statistics, the same in every lane: largest magnitude, 1 / rms, 127 / largest.
constexpr int LARGEST = STATS, INVERSE = STATS + 1, SCALE = STATS + 2, SPREAD = STATS + 4;

constexpr float FLOOR = 1e-5f, MAX = 127.0f;

template <int lanes>
sfpi_inline vFloat rotated(vFloat x) {
#pragma GCC unroll 4
    for (int lane = 0; lane < lanes; ++lane) {
        x = subvec_shflror1(x);
    }
    return x;
}

sfpi_inline vFloat larger(vFloat a, vFloat b) {
    v_if(b > a) { a = b; }
    v_endif;
    return a;
}

void clear_stats() {
    dst_reg[LARGEST] = 0.0f;
    dst_reg[INVERSE] = 1.0f;
}

void clear_sum() { dst_reg[INVERSE] = 0.0f; }

void add_squares() {
    vFloat sum = dst_reg[INVERSE];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i];
        sum = x * x + sum;
    }
    dst_reg[INVERSE] = sum;
}

// The four rows of lanes of a vector, each to all rows of a vector of its own. The instructions hold registers of their
// choice, so no vector may live across a call.
template <int from>
void spread_rows() {
    constexpr auto mode = ckernel::InstrModLoadStore::FP32;
    TTI_SFPLOAD(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPLOAD(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * from);
    TTI_SFPTRANSP(0, 0, 0, 0);
    TTI_SFPSTORE(ckernel::p_sfpu::LREG0, mode, ckernel::ADDR_MOD_7, 2 * SPREAD);
    TTI_SFPSTORE(ckernel::p_sfpu::LREG1, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 1));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG2, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 2));
    TTI_SFPSTORE(ckernel::p_sfpu::LREG3, mode, ckernel::ADDR_MOD_7, 2 * (SPREAD + 3));
}

void add_lanes_of_rows() {
    vFloat sum = dst_reg[INVERSE];
    sum = sum + rotated<4>(sum);
    sum = sum + rotated<2>(sum);
    sum = sum + rotated<1>(sum);
    dst_reg[INVERSE] = sum;
}

template <uint32_t inverse_width, uint32_t eps>
void take_inverse() {
    vFloat upper = dst_reg[SPREAD] + dst_reg[SPREAD + 1];
    vFloat lower = dst_reg[SPREAD + 2] + dst_reg[SPREAD + 3];
    vFloat sum = upper + lower;
    dst_reg[INVERSE] = sum * __builtin_bit_cast(float, inverse_width);
    vFloat shifted = dst_reg[INVERSE] + __builtin_bit_cast(float, eps);
    dst_reg[INVERSE] = ckernel::sfpu::_calculate_sqrt_body_<false, true, true>(shifted);
}

template <bool has_gain>
void normalize() {
    vFloat inverse = dst_reg[INVERSE];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i] * inverse;
        if constexpr (has_gain) {
            x = x * dst_reg[Y + i];
        }
        dst_reg[X + i] = x;
    }
}

void find_largest() {
    vFloat largest = dst_reg[LARGEST];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i];
        largest = larger(largest, setsgn(x, 0));
    }
    dst_reg[LARGEST] = largest;
}

void compare_lanes_of_rows() {
    vFloat largest = dst_reg[LARGEST];
    largest = larger(largest, rotated<4>(largest));
    largest = larger(largest, rotated<2>(largest));
    largest = larger(largest, rotated<1>(largest));
    dst_reg[LARGEST] = largest;
}

void take_scale() {
    vFloat largest = larger(dst_reg[SPREAD], dst_reg[SPREAD + 1]);
    largest = larger(largest, dst_reg[SPREAD + 2]);
    largest = larger(largest, dst_reg[SPREAD + 3]);
    largest = larger(largest, FLOOR);
    dst_reg[LARGEST] = largest;
    dst_reg[SCALE] = ckernel::sfpu::sfpu_reciprocal_iter<2>(dst_reg[LARGEST]) * MAX;
}

void quantize() {
    vFloat scale = dst_reg[SCALE];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        dst_reg[X + i] = ckernel::sfpu::_round_even_(dst_reg[X + i] * scale);
    }
}

// The scales lie in the statistics' place: one of the row, one of the first matrix, one of the second.
void add_scaled() {
    vFloat factor = dst_reg[STATS], scale = dst_reg[STATS + 1];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat y = dst_reg[Y + i] * factor;
        y = y * scale;
        dst_reg[Y + i] = y;
        dst_reg[X + i] = dst_reg[X + i] + dst_reg[Y + i];
    }
}

template <bool squared_relu>
void scale_gate() {
    vFloat factor = dst_reg[STATS], scale = dst_reg[STATS + 1];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat x = dst_reg[X + i] * factor;
        x = x * scale;
        if constexpr (squared_relu) {
            v_if(x < 0.0f) { x = 0.0f; }
            v_endif;
            x = x * x;
        }
        dst_reg[X + i] = x;
    }
}

void times_up() {
    vFloat factor = dst_reg[STATS], scale = dst_reg[STATS + 2];
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
        vFloat y = dst_reg[Y + i] * factor;
        y = y * scale;
        dst_reg[X + i] = dst_reg[X + i] * y;
    }
}

}  // namespace
#endif

#define ON_VECTORS(...) MATH((_llk_math_eltwise_unary_sfpu_params_(__VA_ARGS__)))

namespace {

ALWI void store(uint32_t tile, uint32_t buffer) {
    pack_reconfig_data_format(buffer);
    pack_tile(tile, buffer);
}

}  // namespace

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t source = get_compile_time_arg_val(2);
    constexpr bool normed = get_compile_time_arg_val(3);
    constexpr bool quantized = get_compile_time_arg_val(4);
    constexpr uint32_t pages = get_compile_time_arg_val(5);
    constexpr uint32_t inverse_width = get_compile_time_arg_val(6);
    constexpr uint32_t eps = get_compile_time_arg_val(7);
    constexpr uint32_t row_buffer = source == 0 ? rows::FIRST : rows::ROW;
    constexpr uint32_t x = 0, y = 1, stats = 2;

    const uint32_t count = get_common_arg_val<uint32_t>(0);
    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    if (core >= count) {
        return;
    }
    compute_kernel_hw_startup(rows::FIRST, rows::RESULT);
    copy_init(rows::FIRST);  // all buffers that are loaded are alike
    rounding_op_tile_init();
    if constexpr (normed) {
        cb_wait_front(rows::GAIN, pages);
    }
    for (uint32_t row = core; row < count; row += cores) {
        cb_wait_front(rows::FIRST, pages);
        if constexpr (source != 0) {
            cb_wait_front(rows::SECOND, pages);
            cb_wait_front(rows::SCALES, 1);
            cb_reserve_back(rows::ROW, pages);
            if constexpr (source == 1) {
                cb_reserve_back(rows::SUM, pages);
            }
            for (uint32_t page = 0; page < pages; ++page) {
                tile_regs_acquire();
                copy_tile(rows::FIRST, page, x);
                copy_tile(rows::SECOND, page, y);
                copy_tile(rows::SCALES, 0, stats);
                if constexpr (source == 1) {
                    ON_VECTORS(add_scaled, 0, VectorMode::RC_custom);
                } else {
                    ON_VECTORS(scale_gate<source == 2>, 0, VectorMode::RC_custom);
                    if constexpr (source == 3) {
                        silu_tile_init();
                        silu_tile(x);
                    }
                    ON_VECTORS(times_up, 0, VectorMode::RC_custom);
                }
                tile_regs_commit();
                tile_regs_wait();
                store(x, rows::ROW);
                if constexpr (source == 1) {
                    store(x, rows::SUM);
                }
                tile_regs_release();
            }
            cb_push_back(rows::ROW, pages);
            if constexpr (source == 1) {
                cb_push_back(rows::SUM, pages);
            }
            cb_pop_front(rows::FIRST, pages);
            cb_pop_front(rows::SECOND, pages);
            cb_pop_front(rows::SCALES, 1);
            cb_wait_front(rows::ROW, pages);
        }

        tile_regs_acquire();
        ON_VECTORS(clear_stats, 0, VectorMode::RC_custom);
        if constexpr (normed) {
            ON_VECTORS(clear_sum, 0, VectorMode::RC_custom);
            for (uint32_t page = 0; page < pages; ++page) {
                copy_tile(row_buffer, page, x);
                ON_VECTORS(add_squares, 0, VectorMode::RC_custom);
            }
            ON_VECTORS(add_lanes_of_rows, 0, VectorMode::RC_custom);
            ON_VECTORS(spread_rows<INVERSE>, 0, VectorMode::RC_custom);
            rsqrt_tile_init();
            ON_VECTORS((take_inverse<inverse_width, eps>), 0, VectorMode::RC_custom);
        }
        if constexpr (quantized) {
            for (uint32_t page = 0; page < pages; ++page) {
                copy_tile(row_buffer, page, x);
                if constexpr (normed) {
                    copy_tile(rows::GAIN, page, y);
                }
                ON_VECTORS(normalize<normed>, 0, VectorMode::RC_custom);
                ON_VECTORS(find_largest, 0, VectorMode::RC_custom);
            }
            ON_VECTORS(compare_lanes_of_rows, 0, VectorMode::RC_custom);
            ON_VECTORS(spread_rows<LARGEST>, 0, VectorMode::RC_custom);
            recip_tile_init();
            ON_VECTORS(take_scale, 0, VectorMode::RC_custom);
        }
        tile_regs_commit();
        tile_regs_wait();
        cb_reserve_back(rows::STATS, 1);
        store(stats, rows::STATS);
        cb_push_back(rows::STATS, 1);
        if constexpr (quantized) {
            cb_reserve_back(rows::LARGEST, 1);
            store(stats, rows::LARGEST);
            cb_push_back(rows::LARGEST, 1);
        }
        tile_regs_release();

        cb_wait_front(rows::STATS, 1);
        cb_reserve_back(rows::RESULT, pages);
        for (uint32_t page = 0; page < pages; ++page) {
            tile_regs_acquire();
            copy_tile(row_buffer, page, x);
            if constexpr (normed) {
                copy_tile(rows::GAIN, page, y);
            }
            copy_tile(rows::STATS, 0, stats);
            ON_VECTORS(normalize<normed>, 0, VectorMode::RC_custom);
            if constexpr (quantized) {
                ON_VECTORS(quantize, 0, VectorMode::RC_custom);
            }
            tile_regs_commit();
            tile_regs_wait();
            store(x, rows::RESULT);
            tile_regs_release();
        }
        cb_push_back(rows::RESULT, pages);
        cb_pop_front(rows::STATS, 1);
        cb_pop_front(row_buffer, pages);
    }
}
