// What operators return: tensors, tuples, and tuples with names such as torch.return_types.max.
#include <map>
#include <string>

#include "bind/op_function.h"
#include "bind/values.h"

namespace fl {
namespace {

// "torch.return_types.max(\nvalues=tensor(...),\nindices=tensor(...))"
PyObject* named_repr(PyObject* o) {
  return guarded([&]() -> PyObject* {
    PyTypeObject* type = Py_TYPE(o);
    PyRef names = checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "_fields"));
    PyRef text = checked(PyUnicode_FromFormat("%s(", type->tp_name));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); ++i)
      text = checked(PyUnicode_FromFormat("%U%s\n%U=%R", text.get(), i ? "," : "", PyTuple_GET_ITEM(names.get(), i),
                                          PyTuple_GET_ITEM(o, i)));
    return PyUnicode_FromFormat("%U)", text.get());
  });
}

// Types live as long as the process; one for each overload with named results.
PyTypeObject* named_type(const Overload& overload) {
  static auto* types = new std::map<const Overload*, PyTypeObject*>;
  auto found = types->find(&overload);
  if (found != types->end()) return found->second;
  auto* fields = new PyStructSequence_Field[overload.returns.size() + 1]();
  PyRef names = checked(PyTuple_New(static_cast<Py_ssize_t>(overload.returns.size())));
  for (size_t i = 0; i < overload.returns.size(); ++i) {
    fields[i].name = overload.returns[i].name.c_str();
    PyTuple_SET_ITEM(names.get(), static_cast<Py_ssize_t>(i), checked(PyUnicode_FromString(fields[i].name)).release());
  }
  auto* name = new std::string("torch.return_types." + overload.name);
  PyStructSequence_Desc desc{name->c_str(), nullptr, fields, static_cast<int>(overload.returns.size())};
  PyRef type = checked(reinterpret_cast<PyObject*>(PyStructSequence_NewType(&desc)));
  check_status(PyObject_SetAttrString(type.get(), "_fields", names.get()));
  auto* result = reinterpret_cast<PyTypeObject*>(type.release());
  result->tp_repr = named_repr;
  PyType_Modified(result);
  types->emplace(&overload, result);
  return result;
}

bool has_names(const Overload& overload) {
  if (overload.returns.size() < 2) return false;
  for (const Return& r : overload.returns)
    if (r.name.empty()) return false;
  return true;
}

PyRef multiple(const Overload& overload, Outputs& outputs) {
  auto n = static_cast<Py_ssize_t>(outputs.size());
  bool named = has_names(overload);
  PyRef result = named ? checked(PyStructSequence_New(named_type(overload))) : checked(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = checked(to_python(outputs[static_cast<size_t>(i)])).release();
    if (named)
      PyStructSequence_SetItem(result.get(), i, item);
    else
      PyTuple_SET_ITEM(result.get(), i, item);
  }
  return result;
}

}  // namespace

PyRef results_to_python(const Overload& overload, Outputs& outputs) {
  if (outputs.size() == 1 && overload.returns.size() <= 1) {
    Value& v = outputs[0];
    if (v.is_tensor()) {
      // Taken over, not shared: a result whose only holder is its Python object can be traversed and changed in place.
      TensorRef t = v.tensor_ref();
      v = Value();
      return checked(wrap(std::move(t)));
    }
    return checked(to_python(v));
  }
  if (overload.returns.empty()) return PyRef::borrow(Py_None);
  return multiple(overload, outputs);
}

PyRef name_results(const Overload& overload, PyRef tuple) {
  if (PyList_CheckExact(tuple.get()) && !overload.returns.empty()) return checked(PyList_AsTuple(tuple.get()));
  if (!has_names(overload) || !PyTuple_CheckExact(tuple.get())) return tuple;
  auto n = static_cast<Py_ssize_t>(overload.returns.size());
  if (PyTuple_GET_SIZE(tuple.get()) != n) return tuple;
  PyRef result = checked(PyStructSequence_New(named_type(overload)));
  for (Py_ssize_t i = 0; i < n; ++i)
    PyStructSequence_SetItem(result.get(), i, Py_NewRef(PyTuple_GET_ITEM(tuple.get(), i)));
  return result;
}

}  // namespace fl
