// What C++ below asks of Python is set when the module is loaded.
#pragma once
#include "bind/python.h"

namespace fl {

void add_contractions();
void add_hooks(PyObject* module);

}  // namespace fl
