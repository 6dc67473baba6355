// What the test files of the native test program share.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "kernels/kernels.hpp"

namespace bitnet {

// Allocations since the program began.
extern std::atomic<std::size_t> allocations;

// The tables under test, the fastest first. The last one is scalar, unless only the fastest is tested.
const std::vector<const Kernels*>& tables();

// Adds results to the digest, but only those of the scalar table, which every architecture has.
void note(const Kernels& kernels, const std::vector<float>& values);

// Counts and prints a failure if `same` is false.
void expect(bool same, const std::string& what);

// Whether both have the same bits.
bool identical(const std::vector<float>& a, const std::vector<float>& b);

// All tests of kernels_test.cpp, head_test.cpp and decoder_test.cpp. The digest depends on their order.
void test_kernels();
void test_head();
void test_decoder();

}  // namespace bitnet
