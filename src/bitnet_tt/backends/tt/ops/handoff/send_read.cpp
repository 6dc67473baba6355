// Read the tensor that is sent to another card.
#include "api/dataflow/dataflow_api.h"
#include "packets.hpp"

void kernel_main() { packets::read_all(TENSOR("source", packets::PAGE_BYTES)); }
