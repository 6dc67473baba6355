// Take apart the packed inputs of a decode step. A work item is a page of it: the token ids, the positions, the slots,
// or a row of the block table. Pages before `first` stay.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/work.hpp"
#include "api/dataflow/dataflow_api.h"

constexpr uint32_t TOKEN_IDS = 0, POSITIONS = 1, TABLE = 3;  // pages; page 2 has the slots, the table the rest

void kernel_main() {
    const uint32_t first = ARGUMENT("first"), pages = ARGUMENT("pages"), page_bytes = ARGUMENT("page_bytes");
    const uint32_t list_bytes = ARGUMENT("list_bytes"), table_bytes = ARGUMENT("table_bytes");
    const auto packed = TENSOR("packed", page_bytes);
    const auto token_ids = TENSOR("token_ids", list_bytes);
    const auto positions = TENSOR("positions", list_bytes);
    const auto slots = TENSOR("slots", list_bytes);
    const auto table = TENSOR("table", table_bytes);
    const uint32_t page_in_l1 = get_write_ptr(BUFFER("page"));

    for (const uint32_t item : work::Items(pages - first)) {
        const uint32_t page = first + item;
        noc_async_read(packed.get_noc_addr(page), page_in_l1, page_bytes);
        noc_async_read_barrier();
        if (page >= TABLE) {
            noc_async_write(page_in_l1, table.get_noc_addr(page - TABLE), table_bytes);
        } else {
            const uint64_t to = page == TOKEN_IDS   ? token_ids.get_noc_addr(0)
                                : page == POSITIONS ? positions.get_noc_addr(0)
                                                    : slots.get_noc_addr(0);
            noc_async_write(page_in_l1, to, list_bytes);
        }
        noc_async_write_barrier();
    }
}
