// Makes an attention mask [sequences, 1, rows, length] of tiles: 0 up to a row's position, a great negative number
// beyond. Each sequence has so many tokens; row r of its rows is of token r % tokens.
//
// Common arguments: addresses of positions and mask; sequences; rows / 32 and length / 32, rounded up; tokens;
// positions. Compile-time arguments: cores, cores in a row of the grid, bytes of an element, a word of the number,
// accessors.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

constexpr uint32_t TILE = 32, FACE = 16;

void kernel_main() {
    constexpr uint32_t cores = get_compile_time_arg_val(0);
    constexpr uint32_t grid_x = get_compile_time_arg_val(1);
    constexpr uint32_t element = get_compile_time_arg_val(2);
    constexpr uint32_t masked_word = get_compile_time_arg_val(3);
    constexpr auto positions_args = TensorAccessorArgs<4>();
    constexpr auto mask_args = TensorAccessorArgs<positions_args.next_compile_time_args_offset()>();
    constexpr uint32_t tile_bytes = TILE * TILE * element;

    const uint32_t sequences = get_common_arg_val<uint32_t>(2);
    const uint32_t row_tiles = get_common_arg_val<uint32_t>(3);
    const uint32_t columns = get_common_arg_val<uint32_t>(4);
    const uint32_t tokens = get_common_arg_val<uint32_t>(5);
    const uint32_t count = get_common_arg_val<uint32_t>(6);
    const auto positions = TensorAccessor(positions_args, get_common_arg_val<uint32_t>(0), count * 4);
    const auto mask = TensorAccessor(mask_args, get_common_arg_val<uint32_t>(1), tile_bytes);
    const uint32_t open = get_write_ptr(0), closed = get_write_ptr(1), mixed = get_write_ptr(2);
    for (uint32_t offset = 0; offset < tile_bytes; offset += 4) {
        *reinterpret_cast<volatile tt_l1_ptr uint32_t*>(open + offset) = 0;
        *reinterpret_cast<volatile tt_l1_ptr uint32_t*>(closed + offset) = masked_word;
    }
    const uint32_t names = get_write_ptr(3);
    const volatile tt_l1_ptr uint32_t* position_of = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(names);
    noc_async_read(positions.get_noc_addr(0), names, count * 4);
    noc_async_read_barrier();

    const uint32_t core = get_absolute_logical_y() * grid_x + get_absolute_logical_x();
    for (uint32_t work = core; work < sequences * row_tiles * columns; work += cores) {
        const uint32_t first = work % columns * TILE;
        const uint32_t row_tile = work / columns % row_tiles;
        const uint32_t sequence = work / columns / row_tiles;
        uint32_t least = 0xFFFFFFFF, most = 0;
        uint32_t limits[TILE];
        for (uint32_t row = 0; row < TILE; ++row) {
            limits[row] = position_of[sequence * tokens + (row_tile * TILE + row) % tokens];
            least = limits[row] < least ? limits[row] : least;
            most = limits[row] > most ? limits[row] : most;
        }
        uint32_t tile = least >= first + TILE - 1 ? open : closed;
        if (least < first + TILE - 1 && most >= first) {
            tile = mixed;
            for (uint32_t index = 0; index < TILE * TILE; ++index) {
                const uint32_t row = index / (2 * FACE * FACE) * FACE + index / FACE % FACE;
                const uint32_t column = index / (FACE * FACE) % 2 * FACE + index % FACE;
                const uint32_t word = first + column > limits[row] ? masked_word : 0;
                if constexpr (element == 2) {
                    reinterpret_cast<volatile tt_l1_ptr uint16_t*>(mixed)[index] = word >> 16;
                } else {
                    reinterpret_cast<volatile tt_l1_ptr uint32_t*>(mixed)[index] = word;
                }
            }
        }
        noc_async_write(tile, mask.get_noc_addr(work), tile_bytes);
        noc_async_write_barrier();
    }
}
