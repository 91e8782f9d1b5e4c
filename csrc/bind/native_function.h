// Operators whose body needs Python and is written here.
#pragma once
#include "bind/python.h"
#include "runtime/op.h"

namespace fl {

// Registers the operator and adds its function to the module under the signature's name.
void add_native_function(PyObject* module, const char* signature, ForwardFn forward, const char* doc);

}  // namespace fl
