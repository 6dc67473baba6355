// How the cores of the grid share the work of a program.
#pragma once

#include <stdint.h>

#include "arguments.hpp"

namespace work {

constexpr uint32_t CORES = NAMED("grid_cores"), COLUMNS = NAMED("grid_columns");

// The number of this core: cores are counted row by row over the grid.
inline uint32_t core() { return get_absolute_logical_y() * COLUMNS + get_absolute_logical_x(); }

// The work items of this core, out of `count` items 0, 1, 2, ...: item i belongs to core i % CORES.
//
//     for (const uint32_t item : work::Items(count)) { ... }
class Items {
  public:
    struct Iterator {
        uint32_t item;
        uint32_t operator*() const { return item; }
        Iterator& operator++() {
            item += CORES;
            return *this;
        }
        // The last step may jump beyond the end, so the end is "at or beyond".
        bool operator!=(const Iterator& end) const { return item < end.item; }
    };

    explicit Items(uint32_t count) : first_(core()), count_(count) {}

    uint32_t first() const { return first_; }
    bool empty() const { return first_ >= count_; }
    Iterator begin() const { return {first_}; }
    Iterator end() const { return {count_}; }

  private:
    uint32_t first_;
    uint32_t count_;
};

}  // namespace work
