// Stream the weights of a core into L1: one page of DRAM, whose packets arrive in order. It runs ahead of the compute
// kernel as far as the buffer has room.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "arguments.hpp"
#include "stream.hpp"

constexpr uint32_t WEIGHTS = BUFFER("weights");
constexpr uint32_t TILES = CONSTANT("tiles"), TILE_BYTES = CONSTANT("tile_bytes");
constexpr uint32_t PACKET_TILES = CONSTANT("packet_tiles");
constexpr uint32_t ROOM_TILES = CONSTANT("room_tiles");  // all tiles, or whole packets: a packet never wraps around
constexpr uint32_t PACKETS = (TILES + PACKET_TILES - 1) / PACKET_TILES;
constexpr uint32_t IN_FLIGHT = 4;  // packets; each has its own transaction id
static_assert(ROOM_TILES == TILES || ROOM_TILES >= IN_FLIGHT * PACKET_TILES);

static constexpr uint32_t tiles_of(uint32_t packet) {
    const uint32_t first = packet * PACKET_TILES;
    return TILES - first < PACKET_TILES ? TILES - first : PACKET_TILES;
}

void kernel_main() {
    const auto weights = TENSOR("weights", TILES * TILE_BYTES);
    if (stream::mine() == stream::NONE) {
        return;
    }
    uint64_t from = weights.get_noc_addr(stream::mine());
    const uint32_t buffer = get_write_ptr(WEIGHTS);
    uint32_t place = 0;   // in tiles, of the next packet in the buffer
    uint32_t coming = 0;  // tiles that were asked for and have not been handed on
    for (uint32_t packet = 0; packet < PACKETS + IN_FLIGHT; ++packet) {
        const uint32_t id = packet % IN_FLIGHT + 1;
        if (packet >= IN_FLIGHT && packet - IN_FLIGHT < PACKETS) {
            const uint32_t tiles = tiles_of(packet - IN_FLIGHT);
            noc_async_read_barrier_with_trid(id);
            cb_push_back(WEIGHTS, tiles);
            coming -= tiles;
        }
        if (packet < PACKETS) {
            const uint32_t tiles = tiles_of(packet);
            coming += tiles;
            cb_reserve_back(WEIGHTS, coming);
            noc_async_read_set_trid(id);
            noc_async_read(from, buffer + place * TILE_BYTES, tiles * TILE_BYTES);
            from += tiles * TILE_BYTES;
            place = place + tiles == ROOM_TILES ? 0 : place + tiles;
        }
    }
    noc_async_read_set_trid(0);
}
