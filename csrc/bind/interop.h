// NumPy, the buffer protocol and DLPack: memory is shared, never copied.
#pragma once
#include "bind/python.h"
#include "core/tensor.h"

namespace fl {

bool is_ndarray(PyObject* o);  // false while NumPy is not loaded
bool is_numpy_scalar(PyObject* o);
DType numpy_scalar_dtype(PyObject* o);
bool has_attribute(PyObject* o, const char* name);

// Over the memory of an ndarray, or of what numpy.asarray makes of the object.
TensorRef tensor_from_array(PyObject* o);
PyObject* numpy_from_tensor(Tensor* t);

int get_buffer(PyObject* self, Py_buffer* view, int flags);
void release_buffer(PyObject* self, Py_buffer* view);

void add_numpy(PyObject* module);
void add_dlpack(PyObject* module);

}  // namespace fl
