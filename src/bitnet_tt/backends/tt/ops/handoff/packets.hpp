// The packets of a hand-off between cards: parts of the pages of a tensor, in their order.
#pragma once

#include <stdint.h>

#include "../common/arguments.hpp"

namespace packets {

constexpr uint32_t BYTES = CONSTANT("packet_bytes"), PAGE_BYTES = CONSTANT("page_bytes");
constexpr uint32_t COUNT = CONSTANT("packets"), IN_A_PAGE = PAGE_BYTES / BYTES;
constexpr uint32_t TOGETHER = CONSTANT("room") / 2;  // half of the buffer fills while the other half is emptied

// The address of a packet in a tensor, as the NoC `noc` has it.
template <typename Tensor>
inline uint64_t address(const Tensor& tensor, uint32_t packet, uint8_t noc) {
    return tensor.get_noc_addr(packet / IN_A_PAGE, packet % IN_A_PAGE * BYTES, noc);
}

// Read all packets of a tensor into the buffer "packets".
template <typename Tensor>
inline void read_all(const Tensor& tensor) {
    constexpr uint32_t buffer = BUFFER("packets");
    for (uint32_t first = 0; first < COUNT; first += TOGETHER) {
        const uint32_t count = COUNT - first < TOGETHER ? COUNT - first : TOGETHER;
        // Always a whole half: so its memory is in one piece.
        cb_reserve_back(buffer, TOGETHER);
        const uint32_t to = get_write_ptr(buffer);
        for (uint32_t index = 0; index < count; ++index) {
            noc_async_read(address(tensor, first + index, noc_index), to + index * BYTES, BYTES);
        }
        noc_async_read_barrier();
        cb_push_back(buffer, TOGETHER);
    }
}

// Call `take(packet, address in L1)` for each packet that `read_all` brings.
template <typename Take>
inline void take_all(Take take) {
    constexpr uint32_t buffer = BUFFER("packets");
    for (uint32_t first = 0; first < COUNT; first += TOGETHER) {
        const uint32_t count = COUNT - first < TOGETHER ? COUNT - first : TOGETHER;
        cb_wait_front(buffer, TOGETHER);
        const uint32_t from = get_read_ptr(buffer);
        for (uint32_t index = 0; index < count; ++index) {
            take(first + index, from + index * BYTES);
        }
        noc_async_writes_flushed();  // the memory may be overwritten
        cb_pop_front(buffer, TOGETHER);
    }
}

}  // namespace packets
