# Compiles with zig's clang: for machines without a C++ compiler, and for wheels that run on old distributions.
#
# The environment names the program and the target, such as BITNET_ZIG_PROGRAM=/path/to/zig and
# BITNET_ZIG_TARGET=x86_64-linux-gnu.2.17. A target is always given: without one, zig compiles for the processor of this
# machine. With -fPIC, the programs by which CMake gets to know the compiler link the same C++ runtime as the module; zig
# compiles it once, for a minute or two.
set(CMAKE_CXX_COMPILER "$ENV{BITNET_ZIG_PROGRAM}" c++ -target "$ENV{BITNET_ZIG_TARGET}" -fPIC)

# nanobind 3.1 uses stderr without this header. libstdc++ has it inside others, zig's libc++ has not.
set(CMAKE_CXX_FLAGS_INIT "-include stdio.h")

# zig has ar and ranlib inside; CMake's rules have no place for such a first word.
set(CMAKE_AR "$ENV{BITNET_ZIG_PROGRAM}")
set(CMAKE_RANLIB "$ENV{BITNET_ZIG_PROGRAM}")
set(CMAKE_CXX_ARCHIVE_CREATE "<CMAKE_AR> ar qc <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_APPEND "<CMAKE_AR> ar q <TARGET> <OBJECTS>")
set(CMAKE_CXX_ARCHIVE_FINISH "<CMAKE_RANLIB> ranlib <TARGET>")

string(REGEX MATCH "^[^-]+" machine "$ENV{BITNET_ZIG_TARGET}")
if(NOT machine STREQUAL CMAKE_HOST_SYSTEM_PROCESSOR)
  set(CMAKE_SYSTEM_NAME Linux)
  set(CMAKE_SYSTEM_PROCESSOR "${machine}")
endif()
