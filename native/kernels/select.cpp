#include "kernels/select.hpp"

#include "runtime/errors.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

namespace bitnet {

namespace {

#if defined(__x86_64__)
// Newer than the compilers' own names of processor features. The caller has seen to it that the system keeps AVX state.
bool has_avx_vnni() {
#ifdef BITNET_AVX_VNNI_AS_AVX512
    return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax >> 4 & 1) != 0;
#endif
}
#endif

}  // namespace

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> tables;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vnni");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx512 && avx2 && __builtin_cpu_supports("avx512vbmi")) tables.push_back(avx512_vbmi_kernels());
    if (avx512 && avx2) tables.push_back(avx512_vnni_kernels());
    if (avx2 && has_avx_vnni()) tables.push_back(avx_vnni_kernels());
    if (avx2) tables.push_back(avx2_kernels());
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) tables.push_back(neon_kernels());
#endif
    tables.push_back(scalar_kernels());
    return tables;
}

const Kernels& select_kernels(const std::string& name) {
    const std::vector<const Kernels*> tables = available_kernels();
    std::string names;
    for (const Kernels* table : tables) {
        if (name.empty() || name == table->name) return *table;
        names += (names.empty() ? "" : ", ") + std::string(table->name);
    }
    throw DeviceError("isa '" + name + "' is unknown or not supported by this processor, which has: " + names);
}

}  // namespace bitnet
