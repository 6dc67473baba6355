// Everything that the host gives to a kernel, by the names that op.py uses for it (see Kernel in program.py).
//
// For each name, the host passes a compile-time argument: the value of a constant, or the place of an argument, a
// buffer or a tensor. The compiler looks the names up, so they cost nothing at run time. A name that the host does not
// give is a compile error.
#pragma once

#include <stdint.h>

#include <type_traits>

#include "api/compile_time_args.h"
#ifdef COMPILE_FOR_TRISC
#include "api/compute/common.h"
#else
#include "api/dataflow/dataflow_api.h"
#endif

// The number that belongs to a name. A template argument is always evaluated by the compiler.
#define NAMED(name) (std::integral_constant<uint32_t, get_named_compile_time_arg_val(name)>::value)

// Kernel.constants: a number known to the compiler.
#define CONSTANT(name) NAMED("constant_" name)

// Kernel.arguments: a number of 32 bits that may change from launch to launch.
#define ARGUMENT(name) get_common_arg_val<uint32_t>(NAMED("argument_" name))

// The index of a circular buffer.
#define BUFFER(name) NAMED("buffer_" name)

// The index of a semaphore.
#define SEMAPHORE(name) NAMED("semaphore_" name)

// Kernel.tensors: whether this program has the tensor, and the accessor that turns its page numbers into addresses on
// the NoC. An absent tensor also has an accessor, which must not be used.
#define HAS_TENSOR(name) (NAMED("has_" name) != 0)
#define TENSOR(name, page_bytes)                                  \
    TensorAccessor(TensorAccessorArgs<NAMED("accessor_" name)>(), \
                   get_common_arg_val<uint32_t>(NAMED("address_" name)), page_bytes)
