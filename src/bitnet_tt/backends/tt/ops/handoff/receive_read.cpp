// Wait for the packets of another card, and read them.
#include "fence.hpp"
#include "packets.hpp"

void kernel_main() {
    fence::take(ARGUMENT("ready"));
    packets::read_all(TENSOR("landing", packets::PAGE_BYTES));
}
