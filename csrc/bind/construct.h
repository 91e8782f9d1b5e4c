// Tensors from Python data.
#pragma once
#include <optional>

#include "bind/python.h"
#include "core/tensor.h"

namespace fl {

// A new tensor with the numbers of nested sequences, NumPy arrays, tensors or a number. Without a dtype: bool, int64,
// the default dtype, its complex counterpart, or what arrays and tensors have.
TensorRef tensor_from_data(PyObject* data, std::optional<DType> dtype, Device device);

// tp_new of Tensor and its subclasses: Tensor(), Tensor(2, 3), Tensor([1, 2]), Tensor(other).
PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs);

void add_construction(PyObject* module);

}  // namespace fl
