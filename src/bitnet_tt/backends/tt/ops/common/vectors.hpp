// The vector unit of a compute kernel, in float32.
//
// It works on Dest. A page of 1024 consecutive elements of a row lies there as one tile: 64 lines of 16 elements. A
// vector has 32 lanes: four lines, and of these the even or the odd columns. So vector 2 * i of a tile has the even
// elements of 64 * i to 64 * i + 63, and vector 2 * i + 1 the odd ones. A tile has 32 vectors; tile t of Dest begins at
// vector 32 * t.
#pragma once

#include <stdint.h>

#include "api/compute/cb_api.h"
#include "api/compute/common.h"
#include "api/compute/compute_kernel_api.h"
#include "api/compute/compute_kernel_hw_startup.h"
#include "api/compute/eltwise_unary/rounding.h"
#include "api/compute/pack.h"
#include "api/compute/reg_api.h"
#include "api/compute/tile_move_copy.h"

// Run a function once on the vector unit. It addresses Dest itself, through dst_reg. An element of dst_reg may be a
// float or an integer: in a sum, a difference or a copy, vFloat(dst_reg[i]) says which.
#define ON_VECTORS(...) MATH((_llk_math_eltwise_unary_sfpu_params_(__VA_ARGS__, 0, VectorMode::RC_custom)))

namespace vectors {

constexpr int PER_TILE = 32;

// Prepare the compute processors. All buffers that the kernel copies to Dest have the format of `input`.
ALWI void start(uint32_t input, uint32_t output) {
    compute_kernel_hw_startup(input, output);
    copy_init(input);
    rounding_op_tile_init();  // prepares the vector unit, also for kernels that do not round
}

}  // namespace vectors
