// Turn tiles of ternary codes into tiles of bfp4: multiply them by the identity, and pack the product.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/stream.hpp"
#include "../common/ternary.hpp"
#include "api/compute/compute_kernel_hw_startup.h"
#include "api/compute/pack.h"

constexpr uint32_t IDENTITY = BUFFER("identity"), WEIGHTS = BUFFER("weights"), RESULT = BUFFER("result");

void kernel_main() {
    constexpr uint32_t steps = CONSTANT("steps"), columns = CONSTANT("columns");
    constexpr bool have_exponents = CONSTANT("have_exponents");
    if (stream::mine() == stream::NONE) {
        return;
    }
    compute_kernel_hw_startup(WEIGHTS, IDENTITY, RESULT);
    cb_wait_front(IDENTITY, 1);
    ternary::start<have_exponents>(IDENTITY, WEIGHTS, columns);
    for (uint32_t step = 0; step < steps; ++step) {
        cb_wait_front(WEIGHTS, (step + 1) * columns);
        tile_regs_acquire();
        matmul_block(IDENTITY, WEIGHTS, 0, step * columns, 0, false, columns, 1, 1);
        tile_regs_commit();
        tile_regs_wait();
        cb_reserve_back(RESULT, columns);
        for (uint32_t tile = 0; tile < columns; ++tile) {
            pack_tile(tile, RESULT);
        }
        cb_push_back(RESULT, columns);
        tile_regs_release();
    }
    ternary::stop<have_exponents>(IDENTITY, IDENTITY);
}
