// Read the tensor that is sent to another card.
#include "../common/packets.hpp"

void kernel_main() { packets::read(TENSOR("source", packets::PAGE_BYTES), packets::IN_ORDER, CONSTANT("packets")); }
