// Stream the weights of a core into L1: one page of DRAM, whose packets arrive in order. The whole stream fits, so that
// it can run ahead of the compute kernel.
#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "arguments.hpp"
#include "stream.hpp"

constexpr uint32_t WEIGHTS = BUFFER("weights");
constexpr uint32_t TILE_BYTES = CONSTANT("tile_bytes");
constexpr uint32_t PACKET_BYTES = 16384 / TILE_BYTES * TILE_BYTES;  // the NoC carries at most 16384
constexpr uint32_t IN_FLIGHT = 4;                                   // packets; each has its own transaction id

void kernel_main() {
    constexpr uint32_t bytes = CONSTANT("tiles") * TILE_BYTES, packets = (bytes + PACKET_BYTES - 1) / PACKET_BYTES;
    const auto weights = TENSOR("weights", bytes);
    if (stream::mine() == stream::NONE) {
        return;
    }
    const uint64_t from = weights.get_noc_addr(stream::mine());
    cb_reserve_back(WEIGHTS, CONSTANT("tiles"));
    const uint32_t to = get_write_ptr(WEIGHTS);
    for (uint32_t packet = 0; packet < packets + IN_FLIGHT; ++packet) {
        const uint32_t id = packet % IN_FLIGHT + 1;
        if (packet >= IN_FLIGHT) {
            const uint32_t arrived = packet - IN_FLIGHT;
            if (arrived < packets) {
                noc_async_read_barrier_with_trid(id);
                const uint32_t begin = arrived * PACKET_BYTES;
                cb_push_back(WEIGHTS, (bytes - begin < PACKET_BYTES ? bytes - begin : PACKET_BYTES) / TILE_BYTES);
            }
        }
        if (packet < packets) {
            const uint32_t begin = packet * PACKET_BYTES;
            noc_async_read_set_trid(id);
            noc_async_read(from + begin, to + begin, bytes - begin < PACKET_BYTES ? bytes - begin : PACKET_BYTES);
        }
    }
    noc_async_read_set_trid(0);
}
