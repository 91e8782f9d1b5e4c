#include "bind/types.h"

#include <string_view>

#include "runtime/promotion.h"

namespace fl {

PyTypeObject *dtype_type, *layout_type, *memory_format_type;

namespace {

// dtypes, layouts and memory formats: singletons with a name.
struct NamedObject {
  PyObject_HEAD const char* name;
  int code;
};
NamedObject* named(PyObject* o) { return reinterpret_cast<NamedObject*>(o); }

PyObject* dtypes[kDTypes];
PyObject* formats[4];
PyObject* strided;

PyObject* named_repr(PyObject* o) { return PyUnicode_FromFormat("torch.%s", named(o)->name); }
// Pickled by name, as an attribute of the package.
PyObject* named_reduce(PyObject* o, PyObject*) { return PyUnicode_FromString(named(o)->name); }
PyObject* named_module(PyObject*, void*) { return PyUnicode_FromString("flambeau"); }
PyObject* named_copy(PyObject* o, PyObject*) { return Py_NewRef(o); }
PyObject* refuse_new(PyTypeObject* type, PyObject*, PyObject*) {
  std::string_view name = type->tp_name;
  PyErr_Format(PyExc_TypeError, "cannot create 'torch.%s' instances", name.substr(name.rfind('.') + 1).data());
  return nullptr;
}
PyObject* make_named(PyTypeObject* type, const char* name, int code) {
  PyObject* o = checked(type->tp_alloc(type, 0)).release();
  named(o)->name = name;
  named(o)->code = code;
  return o;
}

DType dtype_of(PyObject* o) { return static_cast<DType>(named(o)->code); }
PyObject* dtype_itemsize(PyObject* o, void*) { return PyLong_FromSize_t(dtype_size(dtype_of(o))); }
PyObject* dtype_is_float(PyObject* o, void*) { return PyBool_FromLong(is_float(dtype_of(o))); }
PyObject* dtype_is_complex(PyObject* o, void*) { return PyBool_FromLong(is_complex(dtype_of(o))); }
PyObject* dtype_is_signed(PyObject* o, void*) { return PyBool_FromLong(is_signed(dtype_of(o))); }
PyObject* dtype_code_text(PyObject* o, void*) { return PyUnicode_FromString(dtype_code(dtype_of(o))); }
PyObject* dtype_title_text(PyObject* o, void*) { return PyUnicode_FromString(dtype_title(dtype_of(o))); }
PyObject* dtype_to_real(PyObject* o, PyObject*) { return Py_NewRef(dtype_object(to_real(dtype_of(o)))); }
PyObject* dtype_to_complex(PyObject* o, PyObject*) { return Py_NewRef(dtype_object(to_complex(dtype_of(o)))); }

PyTypeObject* make_named_type(const char* name, const char* doc, PyMethodDef* methods, PyGetSetDef* properties) {
  PyType_Slot slots[] = {{Py_tp_repr, reinterpret_cast<void*>(named_repr)},
                         {Py_tp_new, reinterpret_cast<void*>(refuse_new)},
                         {Py_tp_methods, methods},
                         {Py_tp_getset, properties},
                         {Py_tp_doc, const_cast<char*>(doc)},
                         {0, nullptr}};
  PyType_Spec spec{name, sizeof(NamedObject), 0, Py_TPFLAGS_DEFAULT, slots};
  return make_type(spec);
}

PyMethodDef named_methods[] = {{"__reduce__", named_reduce, METH_NOARGS, nullptr},
                               {"__copy__", named_copy, METH_NOARGS, nullptr},
                               {"__deepcopy__", named_copy, METH_O, nullptr},
                               {nullptr, nullptr, 0, nullptr}};
PyGetSetDef named_properties[] = {{"__module__", named_module, nullptr, nullptr, nullptr},
                                  {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMethodDef dtype_methods[] = {{"__reduce__", named_reduce, METH_NOARGS, nullptr},
                               {"__copy__", named_copy, METH_NOARGS, nullptr},
                               {"__deepcopy__", named_copy, METH_O, nullptr},
                               {"to_real", dtype_to_real, METH_NOARGS, "The real type of the same precision."},
                               {"to_complex", dtype_to_complex, METH_NOARGS, "The complex type of the same precision."},
                               {nullptr, nullptr, 0, nullptr}};
PyGetSetDef dtype_properties[] = {
    {"__module__", named_module, nullptr, nullptr, nullptr},
    {"itemsize", dtype_itemsize, nullptr, "Bytes of an element.", nullptr},
    {"is_floating_point", dtype_is_float, nullptr, "Whether it is real and floating-point.", nullptr},
    {"is_complex", dtype_is_complex, nullptr, "Whether it is complex64 or complex128.", nullptr},
    {"is_signed", dtype_is_signed, nullptr, "Whether it has negative values.", nullptr},
    {"code", dtype_code_text, nullptr, "The short name in keys of kernels: f32, i64, ...", nullptr},
    {"title", dtype_title_text, nullptr, "The name in error sentences: Float, Long, ...", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

struct Alias {
  const char* name;
  DType dtype;
};
constexpr Alias kAliases[] = {{"float", DType::F32},  {"double", DType::F64},  {"half", DType::F16},
                              {"int", DType::I32},    {"long", DType::I64},    {"short", DType::I16},
                              {"cfloat", DType::C64}, {"cdouble", DType::C128}};
constexpr const char* kFormats[] = {"contiguous_format", "preserve_format", "channels_last", "channels_last_3d"};
constexpr const char* kLayouts[] = {"strided",    "sparse_coo", "sparse_csr", "sparse_csc",
                                    "sparse_bsr", "sparse_bsc", "_mkldnn",    "jagged"};

PyObject* get_default_dtype(PyObject*, PyObject*) { return Py_NewRef(dtype_object(default_dtype())); }
PyObject* py_set_default_dtype(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (Py_TYPE(o) != dtype_type)
      raise(PyExc_TypeError, "invalid dtype object: only floating-point types are supported as the default type");
    set_default_dtype(dtype_of(o));
    Py_RETURN_NONE;
  });
}
PyObject* py_promote(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    DType types[2];
    if (n != 2) raise(PyExc_TypeError, "promote_types(): expected two torch.dtype");
    for (int i = 0; i < 2; ++i)
      if (!to_dtype(args[i], types[i]))
        raise(PyExc_TypeError, "promote_types(): argument 'type%d' (position %d) must be torch.dtype, not %s", i + 1,
              i + 1, Py_TYPE(args[i])->tp_name);
    return Py_NewRef(dtype_object(promote(types[0], types[1])));
  });
}
PyMethodDef functions[] = {
    {"get_default_dtype", get_default_dtype, METH_NOARGS, "The dtype of new floating-point tensors."},
    {"set_default_dtype", py_set_default_dtype, METH_O, "Sets the dtype of new floating-point tensors."},
    {"promote_types", py_function(py_promote), METH_FASTCALL, "The smallest dtype that holds values of both."},
    {nullptr, nullptr, 0, nullptr}};

void add_dtypes(PyObject* module) {
  dtype_type = make_named_type("flambeau.dtype", "The type of a tensor's elements.", dtype_methods, dtype_properties);
  add_object(module, "dtype", reinterpret_cast<PyObject*>(dtype_type));
  for (int i = 0; i < kDTypes; ++i) {
    const char* name = dtype_name(static_cast<DType>(i));
    dtypes[i] = make_named(dtype_type, name, i);
    add_object(module, name, dtypes[i]);
  }
  for (const Alias& a : kAliases) add_object(module, a.name, dtype_object(a.dtype));
}

void add_formats(PyObject* module) {
  memory_format_type = make_named_type("flambeau.memory_format", "The order of a tensor's dimensions in memory.",
                                       named_methods, named_properties);
  layout_type = make_named_type("flambeau.layout", "How a tensor is stored.", named_methods, named_properties);
  add_object(module, "memory_format", reinterpret_cast<PyObject*>(memory_format_type));
  add_object(module, "layout", reinterpret_cast<PyObject*>(layout_type));
  for (int i = 0; i < 4; ++i) {
    formats[i] = make_named(memory_format_type, kFormats[i], i);
    add_object(module, kFormats[i], formats[i]);
  }
  for (int i = 0; i < static_cast<int>(std::size(kLayouts)); ++i) {
    PyObject* layout = make_named(layout_type, kLayouts[i], i);
    if (i == 0) strided = layout;
    add_object(module, kLayouts[i], layout);
  }
}

}  // namespace

PyObject* dtype_object(DType d) { return dtypes[static_cast<int>(d)]; }
PyObject* memory_format_object(MemoryFormat f) { return formats[static_cast<int>(f)]; }
PyObject* strided_layout() { return strided; }

bool to_dtype(PyObject* o, DType& d) {
  if (Py_TYPE(o) == dtype_type)
    d = dtype_of(o);
  else if (o == reinterpret_cast<PyObject*>(&PyFloat_Type))
    d = DType::F64;
  else if (o == reinterpret_cast<PyObject*>(&PyLong_Type))
    d = DType::I64;
  else if (o == reinterpret_cast<PyObject*>(&PyBool_Type))
    d = DType::Bool;
  else if (o == reinterpret_cast<PyObject*>(&PyComplex_Type))
    d = DType::C128;
  else
    return false;
  return true;
}

bool to_memory_format(PyObject* o, MemoryFormat& f) {
  if (Py_TYPE(o) != memory_format_type) return false;
  f = static_cast<MemoryFormat>(named(o)->code);
  return true;
}

bool is_strided_layout(PyObject* o) {
  if (Py_TYPE(o) != layout_type) return false;
  if (o != strided)
    raise(PyExc_NotImplementedError, "layout %R is not available. Use torch.strided, the only layout here", o);
  return true;
}

void add_size_and_device(PyObject* module);  // size_device.cpp

void add_types(PyObject* module) {
  add_dtypes(module);
  add_formats(module);
  add_size_and_device(module);
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace fl
