#include "bind/tensor_props.h"

#include "autograd/call.h"
#include "autograd/meta.h"
#include "bind/storage_object.h"
#include "bind/tensor_object.h"
#include "bind/tensor_slots.h"
#include "bind/types.h"
#include "bind/values.h"
#include "runtime/copy.h"

namespace fl {
namespace {

// ---- properties

PyObject* get_shape(PyObject* o, void*) {
  return guarded([&]() -> PyObject* { return size_object(tensor_of(o)->sizes); });
}
PyObject* get_dtype(PyObject* o, void*) { return Py_NewRef(dtype_object(tensor_of(o)->dtype)); }
PyObject* get_device(PyObject* o, void*) {
  return guarded([&]() -> PyObject* { return device_object(tensor_of(o)->device()); });
}
PyObject* get_layout(PyObject*, void*) { return Py_NewRef(strided_layout()); }
PyObject* get_ndim(PyObject* o, void*) { return PyLong_FromLong(tensor_of(o)->dim()); }
PyObject* get_itemsize(PyObject* o, void*) { return PyLong_FromSize_t(tensor_of(o)->itemsize()); }
PyObject* get_nbytes(PyObject* o, void*) {
  Tensor* t = tensor_of(o);
  return PyLong_FromLongLong(t->numel() * static_cast<int64_t>(t->itemsize()));
}
PyObject* get_is_cuda(PyObject* o, void*) { return PyBool_FromLong(tensor_of(o)->device().type == DeviceType::CUDA); }
PyObject* get_is_cpu(PyObject* o, void*) { return PyBool_FromLong(tensor_of(o)->device().type == DeviceType::CPU); }
PyObject* get_is_meta(PyObject* o, void*) { return PyBool_FromLong(tensor_of(o)->is_meta()); }
PyObject* get_never(PyObject*, void*) { Py_RETURN_FALSE; }
PyObject* get_priority(PyObject*, void*) { return PyLong_FromLong(1000); }

PyGetSetDef properties[] = {{"shape", get_shape, nullptr, "The sizes.", nullptr},
                            {"dtype", get_dtype, nullptr, "The type of the elements.", nullptr},
                            {"device", get_device, nullptr, "Where the tensor is.", nullptr},
                            {"layout", get_layout, nullptr, "torch.strided.", nullptr},
                            {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
                            {"itemsize", get_itemsize, nullptr, "Bytes of an element.", nullptr},
                            {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
                            {"is_cuda", get_is_cuda, nullptr, "Whether it is on a GPU.", nullptr},
                            {"is_cpu", get_is_cpu, nullptr, "Whether it is in main memory.", nullptr},
                            {"is_meta", get_is_meta, nullptr, "Whether it has sizes only, no data.", nullptr},
                            {"is_sparse", get_never, nullptr, "False: every tensor is strided.", nullptr},
                            {"is_sparse_csr", get_never, nullptr, "False: every tensor is strided.", nullptr},
                            {"is_mkldnn", get_never, nullptr, "False: every tensor is strided.", nullptr},
                            {"is_quantized", get_never, nullptr, "False.", nullptr},
                            {"is_nested", get_never, nullptr, "False.", nullptr},
                            {"is_mps", get_never, nullptr, "False.", nullptr},
                            {"is_xpu", get_never, nullptr, "False.", nullptr},
                            {"__array_priority__", get_priority, nullptr, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

// ---- sizes and strides

// `name(dim=None)`: all of `values`, or one of them.
PyObject* all_or_one(Tensor* t, const char* name, IntSpan values, PyObject* const* args, Py_ssize_t n,
                     PyObject* kwnames, bool as_size) {
  return guarded([&]() -> PyObject* {
    Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (n + keywords > 1 || (keywords && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "dim")))
      raise(PyExc_TypeError, "%s() takes one argument, dim", name);
    if (n + keywords == 0 || args[0] == Py_None) {
      if (as_size) return size_object(values);
      return to_python(Value(std::vector<int64_t>(values.begin(), values.end())));
    }
    Value v;
    Param dim;
    dim.type = ParamType::Int;
    if (!from_python(args[0], dim, v))
      raise(PyExc_TypeError, "%s(): argument 'dim' (position 1) must be int, not %s", name, Py_TYPE(args[0])->tp_name);
    FL_CHECK(t->dim() > 0, ErrorKind::Index, "Dimension specified as %lld but tensor has no dimensions",
             static_cast<long long>(v.as_int()));
    return PyLong_FromLongLong(values[static_cast<size_t>(wrap_dim(v.as_int(), t->dim()))]);
  });
}
PyObject* size(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  Tensor* t = tensor_of(o);
  return all_or_one(t, "size", t->sizes, args, n, kwnames, true);
}
PyObject* stride(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  Tensor* t = tensor_of(o);
  return all_or_one(t, "stride", t->strides, args, n, kwnames, false);
}
PyObject* dim(PyObject* o, PyObject*) { return PyLong_FromLong(tensor_of(o)->dim()); }
PyObject* numel(PyObject* o, PyObject*) { return PyLong_FromLongLong(tensor_of(o)->numel()); }
PyObject* element_size(PyObject* o, PyObject*) { return PyLong_FromSize_t(tensor_of(o)->itemsize()); }
PyObject* storage_offset(PyObject* o, PyObject*) { return PyLong_FromLongLong(tensor_of(o)->offset); }
PyObject* is_float_point(PyObject* o, PyObject*) { return PyBool_FromLong(is_float(tensor_of(o)->dtype)); }
PyObject* is_complex_dtype(PyObject* o, PyObject*) { return PyBool_FromLong(is_complex(tensor_of(o)->dtype)); }
PyObject* is_signed_dtype(PyObject* o, PyObject*) { return PyBool_FromLong(is_signed(tensor_of(o)->dtype)); }
PyObject* is_conj(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* device_index(PyObject* o, PyObject*) { return PyLong_FromLong(tensor_of(o)->device().index); }
PyObject* data_ptr(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Tensor* t = tensor_of(o);
    return PyLong_FromVoidPtr(t->numel() ? t->data() : nullptr);
  });
}
PyObject* is_contiguous(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    MemoryFormat format = MemoryFormat::Contiguous;
    Py_ssize_t given = n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (given > 1 || (given && !to_memory_format(args[0], format)))
      raise(PyExc_TypeError, "is_contiguous(): argument 'memory_format' must be torch.memory_format");
    const Tensor& t = *tensor_of(o);
    return PyBool_FromLong(format == MemoryFormat::Contiguous ? t.is_contiguous() : has_format(t, format));
  });
}

// ---- elements

PyObject* item(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return item_object(*tensor_of(o)); });
}

PyRef nested_list(const Tensor& t, int d, const char* at) {
  if (d == t.dim()) return checked(element_object(at, t.dtype));
  PyRef list = checked(PyList_New(static_cast<Py_ssize_t>(t.sizes[d])));
  for (int64_t i = 0; i < t.sizes[d]; ++i)
    PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), nested_list(t, d + 1, at + i * t.byte_step(d)).release());
  return list;
}
PyObject* tolist(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Tensor* t = tensor_of(o);
    FL_CHECK(!t->is_meta(), ErrorKind::NotImplemented, "Cannot copy out of meta tensor; no data!");
    return nested_list(*t, 0, t->numel() ? t->data() : nullptr).release();
  });
}

// ---- storage

PyObject* untyped_storage(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return storage_object(tensor_of(o)->storage); });
}
PyObject* is_set_to(PyObject* o, PyObject* other) {
  return guarded([&]() -> PyObject* {
    Tensor *a = tensor_of(o), *b = tensor_argument(other, "is_set_to", "tensor");
    bool same = a->storage == b->storage && a->offset == b->offset && a->sizes == b->sizes && a->strides == b->strides;
    return PyBool_FromLong(same);
  });
}
PyObject* is_same_size(PyObject* o, PyObject* other) {
  return guarded([&]() -> PyObject* {
    return PyBool_FromLong(tensor_of(o)->sizes == tensor_argument(other, "is_same_size", "other")->sizes);
  });
}

// set_(source, storage_offset=0, size=None, stride=None): source is a storage or a tensor.
PyObject* set_source(PyObject* o, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"source", "storage_offset", "size", "stride", nullptr};
    PyObject *source = nullptr, *size_arg = nullptr, *stride_arg = nullptr;
    long long offset = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OLOO:set_", const_cast<char**>(names), &source, &offset, &size_arg,
                                     &stride_arg))
      throw PythonError{};
    Tensor* t = tensor_of(o);
    Tensor* other = source && is_tensor(source) ? tensor_of(source) : nullptr;
    // A storage with a dtype stands before one without.
    PyRef untyped = source && !other ? PyRef::steal(PyObject_GetAttrString(source, "_untyped_storage")) : PyRef();
    PyErr_Clear();
    if (untyped) source = untyped.get();
    Storage* storage = other ? other->storage.get() : source ? storage_of(source) : nullptr;
    if (source && !storage)
      raise(PyExc_TypeError, "set_(): argument 'source' (position 1) must be Tensor or UntypedStorage, not %s",
            Py_TYPE(source)->tp_name);
    Ref<Storage> held = storage ? Ref<Storage>(storage) : Storage::create(0, t->device());
    auto dims_of = [](PyObject* list, const char* name) {
      Param param;
      param.type = ParamType::Ints;
      Value v;
      if (!from_python(list, param, v))
        raise(PyExc_TypeError, "set_(): argument '%s' must be tuple of ints, not %s", name, Py_TYPE(list)->tp_name);
      return Dims(IntSpan(v.ints()));
    };
    Dims sizes, strides;
    if (size_arg)
      sizes = dims_of(size_arg, "size");
    else if (other)
      sizes = other->sizes;
    else
      sizes = Dims{static_cast<int64_t>(held->bytes() / t->itemsize())};
    if (stride_arg)
      strides = dims_of(stride_arg, "stride");
    else
      strides = other && !size_arg ? other->strides : contiguous_strides(sizes);
    if (other && !size_arg) offset = other->offset;
    TensorRef made =
        Tensor::make(std::move(held), offset, std::move(sizes), std::move(strides), other ? other->dtype : t->dtype);
    FL_CHECK(made->dtype == t->dtype, ErrorKind::Runtime, "Could not set tensor of type %s to a tensor of type %s",
             dtype_name(made->dtype), dtype_name(t->dtype));
    set_data(t, made.get());
    t->own_version.reset();
    return Py_NewRef(o);
  });
}

// ---- subclasses

PyTypeObject* subclass_of(PyObject* o) {
  if (!PyType_Check(o) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(o), tensor_type))
    raise(PyExc_TypeError, "cls must be a type (got %s)", Py_TYPE(o)->tp_name);
  return reinterpret_cast<PyTypeObject*>(o);
}
// t._become(cls): the same object as one of another subclass, whose __torch_function__ sees its calls from now on.
PyObject* become(PyObject* self, PyObject* cls) {
  return guarded([&]() -> PyObject* {
    if (!PyType_Check(cls) || !PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(cls), tensor_type))
      raise(PyExc_TypeError, "_become(): a subclass of Tensor is wanted, not %R", cls);
    check_status(PyObject_SetAttrString(self, "__class__", cls));
    Tensor* t = tensor_of(self);
    t->flags &= static_cast<decltype(t->flags)>(~kIntercept);
    if (type_intercepts(reinterpret_cast<PyTypeObject*>(cls))) t->flags |= kIntercept;
    Py_RETURN_NONE;
  });
}

// Tensor._make_subclass(cls, data, require_grad=False)
PyObject* make_subclass(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"cls", "data", "require_grad", nullptr};
    PyObject *cls, *data;
    int grad = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|p:_make_subclass", const_cast<char**>(names), &cls, &data,
                                     &grad))
      throw PythonError{};
    PyTypeObject* type = subclass_of(cls);
    TensorRef t = alias_of(*tensor_argument(data, "_make_subclass", "data"));
    FL_CHECK(!grad || is_differentiable(t->dtype), ErrorKind::Runtime,
             "Only Tensors of floating point and complex dtype can require gradients");
    if (grad) set_requires_grad(t.get(), true);
    return wrap_as(std::move(t), type);
  });
}

// _mark_sparse(): says that the elements are what the Python object holds, so that gradients are added by Python.
PyObject* mark_sparse(PyObject* o, PyObject*) {
  tensor_of(o)->flags |= kSparse;
  return Py_NewRef(o);
}

// as_subclass(cls): the same elements as another object; gradients flow through.
PyObject* as_subclass(PyObject* o, PyObject* cls) {
  return guarded([&]() -> PyObject* {
    static const OpRef alias("alias");
    PyTypeObject* type = subclass_of(cls);
    return wrap_as(alias({TensorRef(tensor_of(o))}), type);
  });
}

PyMethodDef methods[] = {
    {"size", py_function(size), METH_FASTCALL | METH_KEYWORDS, "size(dim=None): all sizes, or one."},
    {"stride", py_function(stride), METH_FASTCALL | METH_KEYWORDS,
     "stride(dim=None): steps between elements, in elements."},
    {"dim", dim, METH_NOARGS, "The number of dimensions."},
    {"ndimension", dim, METH_NOARGS, "The number of dimensions."},
    {"numel", numel, METH_NOARGS, "The number of elements."},
    {"nelement", numel, METH_NOARGS, "The number of elements."},
    {"element_size", element_size, METH_NOARGS, "Bytes of an element."},
    {"storage_offset", storage_offset, METH_NOARGS, "Where the first element is in the storage, in elements."},
    {"is_floating_point", is_float_point, METH_NOARGS, "Whether elements are floating-point numbers."},
    {"is_complex", is_complex_dtype, METH_NOARGS, "Whether elements are complex."},
    {"is_signed", is_signed_dtype, METH_NOARGS, "Whether elements may be negative."},
    {"is_conj", is_conj, METH_NOARGS, "False: conjugates are computed, not marked."},
    {"is_neg", is_conj, METH_NOARGS, "False: negatives are computed, not marked."},
    {"get_device", device_index, METH_NOARGS, "The number of the GPU, -1 on the CPU."},
    {"data_ptr", data_ptr, METH_NOARGS, "The address of the first element."},
    {"is_contiguous", py_function(is_contiguous), METH_FASTCALL | METH_KEYWORDS,
     "is_contiguous(memory_format=torch.contiguous_format): whether elements lie one after the other."},
    {"item", item, METH_NOARGS, "The element as a Python number; there must be exactly one."},
    {"tolist", tolist, METH_NOARGS, "The elements as nested lists of Python numbers."},
    {"untyped_storage", untyped_storage, METH_NOARGS, "The bytes it shares with its views."},
    {"is_set_to", is_set_to, METH_O, "Whether both are the same view of the same storage."},
    {"is_same_size", is_same_size, METH_O, "Whether both have the same sizes."},
    {"set_", py_function(set_source), METH_VARARGS | METH_KEYWORDS,
     "set_(source, storage_offset, size, stride): becomes a view of it."},
    {"as_subclass", as_subclass, METH_O, "as_subclass(cls): the same elements as an object of a subclass."},
    {"_mark_sparse", mark_sparse, METH_NOARGS, "Says that the elements are what the Python object holds."},
    {"_become", become, METH_O, "Makes the object one of another subclass of Tensor."},
    {"_make_subclass", py_function(make_subclass), METH_VARARGS | METH_KEYWORDS | METH_STATIC,
     "_make_subclass(cls, data, require_grad=False): the elements of data as a new object of cls."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_tensor_properties(PyObject* module) {
  static PyMethodDef functions[] = {{"swap_tensors", py_function(swap_tensors), METH_FASTCALL,
                                     "Exchanges what two tensor objects hold, attributes included."},
                                    {nullptr, nullptr, 0, nullptr}};
  check_status(PyModule_AddFunctions(module, functions));
  add_properties(tensor_type, properties);
  add_methods(tensor_type, methods);
  static PyMethodDef extra[] = {tensor_complex_method(), {nullptr, nullptr, 0, nullptr}};
  add_methods(tensor_type, extra);
}

}  // namespace fl
