// Row programs, loop programs and multi-tensor kernels: the drivers' questions to Python, and Python's launches.
// Threads, memory and fork.
#pragma once
#include "bind/python.h"

namespace fl {

void add_kernels(PyObject* module);
void add_system(PyObject* module);

}  // namespace fl
