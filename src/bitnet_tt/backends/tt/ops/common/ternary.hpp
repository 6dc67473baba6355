// The matrix engine on ternary weights of 2 bits, for compute kernels.
//
// A weight tile has 256 bytes: the codes of its 1024 weights in the order of its elements (tile.hpp), the first in the
// lowest bits of a byte. A code is a number of the format bfp2 without its shared exponent: sign << 1 | magnitude, so
// 0 is 00, 1 is 01 and -1 is 11. 10, a negative zero, would become minus infinity. The unpacker takes the exponent from
// a register, in place of the exponents that a tile of bfp2 begins with. Or else the tiles have their exponents
// (320 bytes): for hardware on which that register should not work.
//
// ttnn has no name for bfp2. The buffer of the weights is declared as bfp4 with pages of 256 or 320 bytes; the page's
// size is the step from tile to tile. `start` sets the formats beyond that declaration, `stop` takes this back: other
// kernels would find the settings as they were left.
#pragma once

#include <stdint.h>

#include "api/compute/compute_kernel_api.h"
#include "api/compute/matmul.h"
#include "api/compute/reconfig_data_format.h"
#include "api/compute/tile_move_copy.h"

namespace ternary {

// Formats by the numbers of the hardware. bfp2 in the unpacker must stay bfp2 in the operand register, where it looks
// like bfloat16.
constexpr uint32_t BFP2 = 15, BFLOAT16 = 5;
constexpr uint32_t EXPONENT_OF_ONE = 127;

#ifdef TRISC_UNPACK
// Wait until the unpacker has nothing in flight, and clear the register: it needs that at every change from and to
// bfp2.
inline void drain() {
    TTI_UNPACR_NOP(SrcA, 0, 0, 0, 0, 1, 0, 0, p_unpacr_nop::CLR_SRC);
    TTI_STALLWAIT(p_stall::STALL_CFG, p_stall::UNPACK0);
}

inline void force_exponent(uint32_t exponent, bool force) {
    TT_SETDMAREG(0, exponent, 0, LO_16(p_gpr_unpack::TMP0));
    TTI_SETDMAREG(0, 0, 0, HI_16(p_gpr_unpack::TMP0));
    TTI_STALLWAIT(p_stall::STALL_CFG, p_stall::THCON);
    TTI_WRCFG(p_gpr_unpack::TMP0, p_cfg::WRCFG_32b, UNP0_FORCED_SHARED_EXP_shared_exp_ADDR32);
    TTI_NOP;
    TTI_NOP;
    cfg_reg_rmw_tensix<THCON_SEC0_REG2_Force_shared_exp_RMW>(force);
}
#endif

// Prepare products of tiles of integers, in bfloat16, and ternary weights; `columns` tiles are computed together.
template <bool HAVE_EXPONENTS>
ALWI void start(uint32_t integers, uint32_t weights, uint32_t columns) {
    reconfig_full_operand(weights, integers);
    matmul_block_init(integers, weights, 0, columns, 1, 1);
#ifdef TRISC_UNPACK
    drain();
    cfg_reg_rmw_tensix<THCON_SEC0_REG0_TileDescriptor_ADDR32, 0, 0x0f>(BFP2);
    cfg_reg_rmw_tensix<THCON_SEC0_REG2_Out_data_format_RMW>(BFP2);
    if constexpr (!HAVE_EXPONENTS) {
        force_exponent(EXPONENT_OF_ONE, true);
    }
#endif
#ifdef TRISC_MATH
    TTI_STALLWAIT(p_stall::STALL_CFG, p_stall::MATH);
    TTI_SETC16(DISABLE_IMPLIED_SRCA_FMT_Base_ADDR32, 1);
    cfg_reg_rmw_tensix<ALU_FORMAT_SPEC_REG0_SrcA_RMW>(BFLOAT16);
#endif
}

// Go back to copying pages of `buffer` to Dest.
template <bool HAVE_EXPONENTS>
ALWI void stop(uint32_t integers, uint32_t buffer) {
#ifdef TRISC_UNPACK
    drain();
    if constexpr (!HAVE_EXPONENTS) {
        force_exponent(0, false);
    }
#endif
#ifdef TRISC_MATH
    TTI_STALLWAIT(p_stall::STALL_CFG, p_stall::MATH);
    TTI_SETC16(DISABLE_IMPLIED_SRCA_FMT_Base_ADDR32, 0);
#endif
    reconfig_full_operand(buffer, buffer);
    copy_init(buffer);
}

}  // namespace ternary
