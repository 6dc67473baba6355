// Rows in strips: a row-major float32 tensor [rows * strips, 256] in which a row of hidden states is a run of pages of
// 256 elements. So a core reads or writes its part of a row in few long transfers, and the pages of a row lie in
// different banks. The last strip of a row may be longer than the row; nobody reads or writes the elements beyond.
#pragma once

#include <stdint.h>

#include "api/dataflow/dataflow_api.h"

namespace strips {

constexpr uint32_t LENGTH = 256;  // elements
constexpr uint32_t BYTES = LENGTH * 4;

// The strips of a row.
constexpr uint32_t count(uint32_t features) { return (features + LENGTH - 1) / LENGTH; }

// Start to read elements `begin` to `end` - 1 of a row to L1. Each bound is a multiple of 32, and so is a row's length.
template <typename Accessor>
inline void read(const Accessor& tensor, uint32_t features, uint32_t row, uint32_t begin, uint32_t end, uint32_t to) {
    for (uint32_t element = begin; element < end;) {
        const uint32_t strip = element / LENGTH, offset = element % LENGTH;
        const uint32_t elements = LENGTH - offset < end - element ? LENGTH - offset : end - element;
        noc_async_read(tensor.get_noc_addr(row * count(features) + strip, offset * 4), to, elements * 4);
        element += elements;
        to += elements * 4;
    }
}

// Start to write elements `begin` to `end` - 1 of a row from L1, as above.
template <typename Accessor>
inline void write(const Accessor& tensor, uint32_t features, uint32_t row, uint32_t begin, uint32_t end, uint32_t from) {
    for (uint32_t element = begin; element < end;) {
        const uint32_t strip = element / LENGTH, offset = element % LENGTH;
        const uint32_t elements = LENGTH - offset < end - element ? LENGTH - offset : end - element;
        noc_async_write(from, tensor.get_noc_addr(row * count(features) + strip, offset * 4), elements * 4);
        element += elements;
        from += elements * 4;
    }
}

}  // namespace strips
