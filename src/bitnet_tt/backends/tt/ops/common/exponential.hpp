// The exponential function on the vector unit, as accurate as float32.
#pragma once

#include "vectors.hpp"

#ifdef TRISC_MATH
namespace exponential {

using namespace sfpi;

// Set the constants of `of`, once for the whole kernel. vConstFloatPrgm0 is left to reciprocals.
void start() {
    vConstFloatPrgm1 = 1.4426950408889634f;  // 1 / ln 2
    vConstFloatPrgm2 = -0.693145751953125f;  // -ln 2, its first 16 bits: multiples of it are exact
}

// e^x for x <= 0: 1 for 0, and 0 below -86. Relative error 1e-7.
//
// x = k ln 2 + r with an integer k, so e^x = 2^k e^r. For |r| <= ln 2 / 2 a polynomial of degree 6 is enough.
sfpi_inline vFloat of(vFloat x) {
    constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: a sum with it is an integer in the last bits of the float
    vFloat shifted = x * vConstFloatPrgm1 + rounder;
    vFloat k = shifted - rounder;
    vFloat r = k * vConstFloatPrgm2 + x;
    r = k * -1.4286068203094173e-06f + r;  // -ln 2, the other bits
    vFloat y = r * 0.0013843646508497366f + 0.008374161563218338f;
    y = y * r + 0.04166800244914455f;
    y = y * r + 0.1666643119092294f;
    y = y * r + 0.49999994206359855f;
    y = y * r + 1.0000000321795746f;
    y = y * r + 1.0f;
    // Add k to the exponent: the lowest bits of `shifted` are those of k.
    y = as<vFloat>(as<vInt>(y) + (as<vInt>(shifted) << 23));
    v_if(x < -86.0f) { y = 0.0f; }
    v_endif;
    return y;
}

}  // namespace exponential
#endif
