// Compiles only with compilers that build BitNet-TT: C++20 with its library, and names for all instruction sets. The
// build backend and CMakeLists.txt ask with this file.

#include <bit>
#include <span>

#if defined(__clang__) ? __clang_major__ < 12 : __GNUC__ < 10
#error "This compiler is older than g++ 10 and clang 12."
#endif

int main() { return static_cast<int>(std::span<const char>("").size()) - std::bit_width(1u); }
