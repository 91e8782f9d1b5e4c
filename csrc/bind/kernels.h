// Row programs, loop programs and multi-tensor kernels: the drivers' questions to Python, and Python's launches.
// Threads, memory and fork.
#pragma once
#include "bind/python.h"

namespace fl {

void add_kernels(PyObject* module);
void add_launches(PyObject* module);
void add_system(PyObject* module);

// Calls fn with each item of a sequence.
template <class F>
void each_item(PyObject* sequence, F&& fn) {
  PyRef fast = checked(PySequence_Fast(sequence, "a plan's part"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i) fn(PySequence_Fast_GET_ITEM(fast.get(), i));
}

}  // namespace fl
