// AVX-512 with VNNI.
#include "kernels/isa/avx512.hpp"

#include "kernels/table.hpp"

namespace bitnet {

const Kernels* avx512_vnni_kernels() {
    static constexpr Kernels kernels = make_kernels("avx512_vnni");
    return &kernels;
}

}  // namespace bitnet
