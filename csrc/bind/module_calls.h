// Calls and attributes of nn.Module.
#pragma once
#include "bind/python.h"

namespace fl {

void add_module_calls(PyObject* module);

}  // namespace fl
