// What makes a call leave the fast path: handlers pushed on this thread (modes), and arguments that want to see calls.
#pragma once
#include <span>

#include "bind/python.h"
#include "core/tensor.h"

namespace fl {

struct ThreadModes {
  uint32_t active = 0;           // handlers on the stack; part of the one test at entry
  uint64_t quiet = 0;            // a bit a handler: those that see operators of the table and nothing else
  PyObject* handlers = nullptr;  // a list, innermost last
  int subclass_off = 0;          // DisableTorchFunctionSubclass and handlers that are running
  int all_off = 0;               // DisableTorchFunction
};
extern constinit thread_local ThreadModes thread_modes;

// Whether the arguments (tensors, and tensors in lists and tuples) or this thread's modes want to see the call.
bool must_intercept(PyObject* const* args, size_t count);

// Runs `function(*args, **kwargs)` through handlers and __torch_function__. A new reference; `handled` false and no
// error: nobody took it, the caller goes on.
PyRef intercept(PyObject* function, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, bool& handled);

// `_disabled_torch_function_impl`: the value of __torch_function__ that opts a subclass out.
PyObject* disabled_torch_function();
void add_modes(PyObject* module);

}  // namespace fl
