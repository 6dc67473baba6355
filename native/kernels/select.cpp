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
// AVX-VNNI is CPUID leaf 7, subleaf 1, EAX bit 4. g++ 10 and clang 12 have no name for it in __builtin_cpu_supports.
// The operating system must save the AVX registers too; the caller has checked that by asking for AVX2.
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
    // Each condition names every instruction set that CMakeLists.txt compiles the file with: the compiler may use any
    // of them. __builtin_cpu_supports also checks that the operating system saves the registers.
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vnni");
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx512 && avx2 && __builtin_cpu_supports("avx512vbmi")) tables.push_back(avx512_vbmi_kernels());
    if (avx512 && avx2) tables.push_back(avx512_vnni_kernels());
    if (avx2 && has_avx_vnni()) tables.push_back(avx_vnni_kernels());
    if (avx2) tables.push_back(avx2_kernels());
#elif defined(__aarch64__)
    // HWCAP_ASIMDDP: the dot product instructions, sdot among them.
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
