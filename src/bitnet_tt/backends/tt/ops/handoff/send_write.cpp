// Send packets to their place on another card, when it is free, and tell it that they are there.
#include "../common/fabric.hpp"
#include "../common/fence.hpp"
#include "../common/packets.hpp"

void kernel_main() {
    const auto landing = TENSOR("landing", packets::PAGE_BYTES);
    fence::take(ARGUMENT("free"));
    fabric::Connection connection;
    packets::take(CONSTANT("packets"), [&](uint32_t packet, uint32_t from) {
        connection.write(from, packets::BYTES, packets::address(landing, packet, fabric::NOC));
    });
    connection.raise(ARGUMENT("ready"));
}
