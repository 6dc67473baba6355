// Write packets to where they are needed, and tell the card that sent them that their place is free.
#include "../common/fabric.hpp"
#include "../common/packets.hpp"

void kernel_main() {
    const auto result = TENSOR("result", packets::PAGE_BYTES);
    packets::take(CONSTANT("packets"),
                  [&](uint32_t packet, uint32_t from) { packets::write(result, packets::IN_ORDER, packet, from); });
    noc_async_write_barrier();
    fabric::Connection().raise(ARGUMENT("free"));
}
