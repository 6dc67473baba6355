// Write what paged_attention_compute.cpp computes: finished heads, and, if parts are split over cores, the results of
// parts. A part's result is sent to the cores that combine its heads, through a tensor in DRAM.
#include <stdint.h>

#include "../common/arguments.hpp"
#include "../common/rows.hpp"
#include "../common/strips.hpp"
#include "api/dataflow/dataflow_api.h"
#include "internal/firmware_common.h"
#include "parts.hpp"

constexpr uint32_t LINES = CONSTANT("lines");  // rows that share a strip of the result
constexpr uint32_t POSITIONS = BUFFER("positions"), PARTIAL = BUFFER("partial"), RESULT = BUFFER("result");

// The address of a semaphore on a core.
static inline uint64_t semaphore_on(uint32_t core, uint32_t semaphore) {
    const auto place = get_virtual_coord_from_worker_logical_coord(core % work::COLUMNS, core / work::COLUMNS);
    return get_noc_addr(place.x, place.y, get_semaphore(semaphore));
}

void kernel_main() {
    constexpr uint32_t features = CONSTANT("features");  // of a row
    constexpr uint32_t sums_bytes = parts::HEADS * parts::HEAD_BYTES;

    const auto attended = TENSOR("attended", strips::BYTES<LINES>);
    const auto parts_in_dram = TENSOR("parts", parts::PART_BYTES);
    const parts::Work work{ARGUMENT("rows"), ARGUMENT("together"), ARGUMENT("most_parts")};

    cb_wait_front(POSITIONS, 1);
    const rows::Words positions_in_l1 = rows::words_at(get_read_ptr(POSITIONS));
    const auto position_of = [=](uint32_t row) { return positions_in_l1[row]; };
    if constexpr (parts::SPLITS) {
        work.for_each_task(position_of, [&](const parts::Task& task) {
            cb_wait_front(PARTIAL, 2);
            const uint32_t from = get_read_ptr(PARTIAL);
            const uint64_t to = parts_in_dram.get_noc_addr(work.page_of(task.row, task.group, task.part));
            noc_async_write(from, to, sums_bytes);
            noc_async_write(from + rows::PAGE * 4, to + sums_bytes, parts::PART_BYTES - sums_bytes);
            noc_async_write_barrier();
            const uint32_t first = task.group * parts::HEADS;
            for (uint32_t head = first; head < first + parts::HEADS; ++head) {
                noc_semaphore_inc(semaphore_on(work.core_of(task.row, head), SEMAPHORE("arrived")), 1);
            }
            cb_pop_front(PARTIAL, 2);
        });
        noc_async_atomic_barrier();
    }
    work.for_each_result([&](uint32_t row, uint32_t index) {
        constexpr uint32_t finished = parts::RESULT_HEADS * parts::HEAD;
        const uint32_t begin = index * finished;
        cb_wait_front(RESULT, 1);
        strips::write_row<LINES>(attended, features, row, begin, begin + finished, get_read_ptr(RESULT));
        noc_async_write_barrier();
        cb_pop_front(RESULT, 1);
    });
}
