// Row programs, loop programs and multi-tensor kernels: the drivers' questions to Python, and Python's launches.
#pragma once
#include "bind/python.h"

namespace fl {

void add_kernels(PyObject* module);

}  // namespace fl
