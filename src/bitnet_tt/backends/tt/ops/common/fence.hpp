// The fence of a hand-off: two semaphores, `ready` on the card that receives and `free` on the card that sends.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

namespace fence {

// Wait until a semaphore of this core is 1, and make it 0. Nobody raises it again before the other side has run.
inline void take(uint32_t semaphore) {
    auto* value = reinterpret_cast<volatile tt_l1_ptr uint32_t*>(semaphore);
    noc_semaphore_wait(value, 1);
    noc_semaphore_set(value, 0);
}

}  // namespace fence
