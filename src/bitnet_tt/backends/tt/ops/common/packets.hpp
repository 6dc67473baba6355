// The packets of a tensor that goes to another card: parts of its pages.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"
#include "arguments.hpp"

namespace packets {

constexpr uint32_t BYTES = CONSTANT("packet_bytes"), PAGE_BYTES = CONSTANT("page_bytes");
constexpr uint32_t IN_A_PAGE = PAGE_BYTES / BYTES;
constexpr uint32_t TOGETHER = CONSTANT("room") / 2;  // half of the buffer fills while the other half is emptied

// Where packets lie in a tensor: packet i is packet `begin` + i % `each` of group i / `each`. Groups are rows of pages,
// and `stride` packets apart.
struct Place {
    uint32_t each, stride, begin;
    constexpr uint32_t operator()(uint32_t packet) const { return packet / each * stride + begin + packet % each; }
};

// All packets of a tensor, one after another.
constexpr Place IN_ORDER = {1, 1, 0};

// The address of a packet in a tensor, as the NoC `noc` has it.
template <typename Tensor>
inline uint64_t address(const Tensor& tensor, uint32_t packet, uint8_t noc) {
    return tensor.get_noc_addr(packet / IN_A_PAGE, packet % IN_A_PAGE * BYTES, noc);
}

// Read `all` packets of a tensor into the buffer "packets".
template <typename Tensor>
inline void read(const Tensor& tensor, Place place, uint32_t all) {
    constexpr uint32_t buffer = BUFFER("packets");
    for (uint32_t first = 0; first < all; first += TOGETHER) {
        const uint32_t count = all - first < TOGETHER ? all - first : TOGETHER;
        // Always a whole half: so its memory is in one piece.
        cb_reserve_back(buffer, TOGETHER);
        const uint32_t to = get_write_ptr(buffer);
        for (uint32_t index = 0; index < count; ++index) {
            noc_async_read(address(tensor, place(first + index), noc_index), to + index * BYTES, BYTES);
        }
        noc_async_read_barrier();
        cb_push_back(buffer, TOGETHER);
    }
}

// Call `use(packet, address in L1)` for each of `all` packets that `read` brings.
template <typename Use>
inline void take(uint32_t all, Use use) {
    constexpr uint32_t buffer = BUFFER("packets");
    for (uint32_t first = 0; first < all; first += TOGETHER) {
        const uint32_t count = all - first < TOGETHER ? all - first : TOGETHER;
        cb_wait_front(buffer, TOGETHER);
        const uint32_t from = get_read_ptr(buffer);
        for (uint32_t index = 0; index < count; ++index) {
            use(first + index, from + index * BYTES);
        }
        noc_async_writes_flushed();  // the memory may be overwritten
        cb_pop_front(buffer, TOGETHER);
    }
}

// Start to write a packet to its place in a tensor of this card.
template <typename Tensor>
inline void write(const Tensor& tensor, Place place, uint32_t packet, uint32_t from) {
    noc_async_write(from, address(tensor, place(packet), noc_index), BYTES);
}

}  // namespace packets
