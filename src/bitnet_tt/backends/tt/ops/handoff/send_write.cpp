// Send packets to their place on another card, when it is free, and tell it that they are there.
#include "fabric.hpp"
#include "fence.hpp"
#include "packets.hpp"

void kernel_main() {
    const auto landing = TENSOR("landing", packets::PAGE_BYTES);
    fence::take(ARGUMENT("free"));
    fabric::Connection connection;
    packets::take_all([&](uint32_t packet, uint32_t from) {
        connection.write(from, packets::BYTES, packets::address(landing, packet, fabric::NOC));
    });
    connection.raise(ARGUMENT("ready"));
}
