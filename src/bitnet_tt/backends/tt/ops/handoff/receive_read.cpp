// Wait for the packets of another card, and read them.
#include "../common/fence.hpp"
#include "../common/packets.hpp"

void kernel_main() {
    fence::take(ARGUMENT("ready"));
    packets::read(TENSOR("landing", packets::PAGE_BYTES), packets::IN_ORDER, CONSTANT("packets"));
}
