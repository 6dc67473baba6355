#include "kernels/select.hpp"

#include "runtime/errors.hpp"

#if defined(__x86_64__)
#include <cpuid.h>

#include <algorithm>
#include <initializer_list>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

namespace bitnet {

namespace {

#if defined(__x86_64__)
// The instruction sets that the processor has and whose registers the operating system saves. It asks CPUID itself:
// g++ 10 and clang 12 have no name for AVX-VNNI in __builtin_cpu_supports, and that of zig 0.17 always says no.
struct Features {
    bool avx2_fma = false, avx_vnni = false, avx512_vnni = false, avx512_vbmi = false;

    Features() {
        Leaf basic, extended, extended1;
        if (!basic.read(1, 0) || !extended.read(7, 0)) return;
        extended1.read(7, 1);
        // OSXSAVE: without it, there is no XGETBV. Its bits: 1 and 2 for SSE and AVX; 5 to 7 for AVX-512.
        if (!has(basic.ecx, {27})) return;
        unsigned saved = 0, high = 0;
        asm volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));

        // FMA and AVX; AVX2; AVX-VNNI.
        avx2_fma = has(saved, {1, 2}) && has(basic.ecx, {12, 28}) && has(extended.ebx, {5});
        avx_vnni = avx2_fma && has(extended1.eax, {4});
        // AVX-512 F, DQ, BW and VL; VNNI; VBMI.
        avx512_vnni =
            avx2_fma && has(saved, {5, 6, 7}) && has(extended.ebx, {16, 17, 30, 31}) && has(extended.ecx, {11});
        avx512_vbmi = avx512_vnni && has(extended.ecx, {1});
#ifdef BITNET_AVX_VNNI_AS_AVX512
        avx_vnni = avx512_vnni;
#endif
    }

  private:
    struct Leaf {
        unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
        bool read(unsigned leaf, unsigned subleaf) { return __get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx); }
    };
    static bool has(unsigned word, std::initializer_list<int> bits) {
        return std::all_of(bits.begin(), bits.end(), [=](int bit) { return word >> bit & 1; });
    }
};
#endif

}  // namespace

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> tables;
#if defined(__x86_64__)
    // Each condition names every instruction set that CMakeLists.txt compiles the file with: the compiler may use any
    // of them.
    const Features features;
    if (features.avx512_vbmi) tables.push_back(avx512_vbmi_kernels());
    if (features.avx512_vnni) tables.push_back(avx512_vnni_kernels());
    if (features.avx_vnni) tables.push_back(avx_vnni_kernels());
    if (features.avx2_fma) tables.push_back(avx2_kernels());
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
