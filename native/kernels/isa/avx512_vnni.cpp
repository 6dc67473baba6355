// The table of processors with AVX-512 and VNNI but without VBMI, such as Intel's Cascade Lake.
#include "kernels/isa/avx512.hpp"

#include "kernels/table.hpp"

BITNET_DEFINE_KERNELS(avx512_vnni)
