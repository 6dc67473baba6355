// Send the card's own columns to the other card and write them to the result; then write what the other card sent.
//
// Both cards send before they wait for the other's columns, so none of them waits for ever.
#include "../common/fabric.hpp"
#include "../common/fence.hpp"
#include "../common/packets.hpp"

void kernel_main() {
    const uint32_t groups = ARGUMENT("groups"), stride = ARGUMENT("stride");
    const packets::Place own = {ARGUMENT("own"), stride, ARGUMENT("own_begin")};
    const packets::Place other = {ARGUMENT("other"), stride, ARGUMENT("other_begin")};
    const auto result = TENSOR("result", packets::PAGE_BYTES);
    const auto landing = TENSOR("landing", packets::PAGE_BYTES);
    fence::take(ARGUMENT("free"));
    fabric::Connection connection;
    packets::take(groups * own.each, [&](uint32_t packet, uint32_t from) {
        packets::write(result, own, packet, from);
        connection.write(from, packets::BYTES, packets::address(landing, packet, fabric::NOC));
    });
    connection.raise(ARGUMENT("other_ready"));
    packets::take(groups * other.each,
                  [&](uint32_t packet, uint32_t from) { packets::write(result, other, packet, from); });
    noc_async_write_barrier();
    connection.raise(ARGUMENT("other_free"));
}
