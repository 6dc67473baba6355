// Read the card's own columns, and then those that the other card sends.
#include "../common/fence.hpp"
#include "../common/packets.hpp"

void kernel_main() {
    const uint32_t groups = ARGUMENT("groups"), each = ARGUMENT("own");
    const auto own = TENSOR("own", packets::PAGE_BYTES);
    const auto landing = TENSOR("landing", packets::PAGE_BYTES);
    packets::read(own, {each, ARGUMENT("own_stride"), 0}, groups * each);
    fence::take(ARGUMENT("ready"));
    packets::read(landing, packets::IN_ORDER, groups * ARGUMENT("other"));
}
