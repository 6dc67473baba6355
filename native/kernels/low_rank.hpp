// Low-rank adapters (LoRA, arXiv 2106.09685) of a linear: y += B * (scaling * (A * x)), float32 throughout.
//
//     u_j = (a_j . x) * scaling      16 lanes over the inputs, for each of a few rows a_j of A
//     d_o = sum of B_oj * u_j        fused multiply-adds in the order of j, from 0
//     y_o = y_o + d_o
//
// B is transposed, [rank][out], so that 16 outputs are one Vec16 and no sum crosses lanes.
#pragma once

#include "kernels/elementwise.hpp"
#include "kernels/unroll.hpp"

namespace bitnet {
namespace {

// Four rows together share the loads of x.
void low_rank(const Adapter& adapter, const float* x, float* u) {
    const std::size_t in = adapter.in;
    std::size_t j = 0;
    for (; j + 4 <= adapter.rank; j += 4) {
        const float* a = adapter.a + j * in;
        Vec16 sums[4] = {};
        for_each_16(in, [&](std::size_t i, std::size_t lanes) {
            const Vec16 v = load_lanes(x + i, lanes);
            BITNET_UNROLL
            for (std::size_t r = 0; r < 4; ++r) sums[r] = fma(load_lanes(a + r * in + i, lanes), v, sums[r]);
        });
        sum4(sums, u + j);
    }
    for (; j < adapter.rank; ++j) {
        Vec16 total = zero();
        for_each_16(in, [&](std::size_t i, std::size_t lanes) {
            total = fma(load_lanes(adapter.a + j * in + i, lanes), load_lanes(x + i, lanes), total);
        });
        u[j] = sum(total);
    }
    for (j = 0; j < adapter.rank; ++j) u[j] *= adapter.scaling;
}

void add_low_rank(const Adapter& adapter, const float* u, std::size_t first, std::size_t last, float* y) {
    for_each_16(last - first, [&](std::size_t i, std::size_t lanes) {
        const float* b = adapter.b + first + i;
        Vec16 d = zero();
        for (std::size_t j = 0; j < adapter.rank; ++j, b += adapter.out)
            d = fma(load_lanes(b, lanes), broadcast(u[j]), d);
        store_lanes(y + first + i, add(load_lanes(y + first + i, lanes), d), lanes);
    });
}

}  // namespace
}  // namespace bitnet
