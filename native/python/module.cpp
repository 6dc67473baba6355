// The Python module bitnet_tt._native; src/bitnet_tt/_native.pyi describes it. Every file of this folder binds one
// subject. Functions that take long release the GIL while they run.
#include <exception>

#include "python/arrays.hpp"
#include "runtime/errors.hpp"

namespace bitnet {
namespace {

void raise(const char* name, const char* message) {
    nb::object type = nb::module_::import_("bitnet_tt.errors").attr(name);
    PyErr_SetString(type.ptr(), message);
}

void translate(const std::exception_ptr& exception, void*) {
    try {
        std::rethrow_exception(exception);
    } catch (const DeviceError& error) {
        raise("DeviceError", error.what());
    } catch (const RequestError& error) {
        raise("RequestError", error.what());
    }
}

}  // namespace
}  // namespace bitnet

NB_MODULE(_native, m) {
    nb::set_leak_warnings(false);  // a backend that lives until the interpreter ends is not a leak
    nb::register_exception_translator(bitnet::translate);
    bitnet::bind_weights(m);
    bitnet::bind_decoder(m);
    bitnet::bind_kernels(m);
    bitnet::bind_checks(m);
    bitnet::bind_measure(m);
}
