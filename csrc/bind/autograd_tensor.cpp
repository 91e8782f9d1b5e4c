// What Tensor shows of autograd: properties and methods.
#include <string>

#include "autograd/meta.h"
#include "bind/autograd_node.h"
#include "bind/tensor_object.h"

namespace fl {
namespace {

PyObject* boolean(bool v) { return PyBool_FromLong(v); }

bool truth(PyObject* o) {
  int v = PyObject_IsTrue(o);
  check_status(v);
  return v == 1;
}

PyObject* get_requires_grad(PyObject* o, void*) { return boolean(requires_grad(tensor_of(o))); }
int set_requires_grad_property(PyObject* o, PyObject* value, void*) {
  return guarded(
      [&] {
        if (!value || !PyBool_Check(value)) raise(PyExc_RuntimeError, "requires_grad must be a bool");
        set_requires_grad(tensor_of(o), value == Py_True);
        return 0;
      },
      -1);
}

PyObject* get_grad(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    TensorRef g = grad_of(tensor_of(o));
    if (!g) Py_RETURN_NONE;
    return wrap(std::move(g));
  });
}
int set_grad_property(PyObject* o, PyObject* value, void*) {
  return guarded(
      [&] {
        if (!value || value == Py_None) {
          set_grad(tensor_of(o), nullptr);
          return 0;
        }
        if (!is_tensor(value))
          raise(PyExc_TypeError, "assigned grad expected to be a Tensor or None but got grad of type %s",
                Py_TYPE(value)->tp_name);
        set_grad(tensor_of(o), TensorRef(tensor_of(value)));
        return 0;
      },
      -1);
}

PyObject* get_grad_fn(PyObject* o, void*) {
  return guarded([&] { return wrap_node(grad_fn(tensor_of(o))); });
}
PyObject* get_is_leaf(PyObject* o, void*) {
  return guarded([&] { return boolean(is_leaf(tensor_of(o))); });
}
PyObject* get_output_nr(PyObject* o, void*) {
  return guarded([&] { return PyLong_FromUnsignedLong(output_nr(tensor_of(o))); });
}
PyObject* get_version(PyObject* o, void*) {
  return guarded([&] {
    Tensor* t = tensor_of(o);
    if (t->inference) raise(PyExc_RuntimeError, "Inference tensors do not track version counter.");
    return PyLong_FromUnsignedLong(t->version());
  });
}
PyObject* get_base(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    TensorRef base = base_of(tensor_of(o));
    if (!base) Py_RETURN_NONE;
    return wrap(std::move(base));
  });
}
PyObject* get_retains_grad(PyObject* o, void*) { return boolean(retains_grad(tensor_of(o))); }

PyObject* get_data(PyObject* o, void*) {
  return guarded([&] { return wrap(data_of(*tensor_of(o))); });
}
int set_data_property(PyObject* o, PyObject* value, void*) {
  return guarded(
      [&] {
        if (!value || !is_tensor(value))
          raise(PyExc_TypeError, "Variable data has to be a tensor, but got %s",
                value ? Py_TYPE(value)->tp_name : "nothing");
        set_data(tensor_of(o), tensor_of(value));
        return 0;
      },
      -1);
}

PyObject* detach(PyObject* o, PyObject*) {
  return guarded([&] { return wrap(alias_of(*tensor_of(o))); });
}
PyObject* detach_(PyObject* o, PyObject*) {
  return guarded([&] {
    detach_in_place(tensor_of(o));
    return Py_NewRef(o);
  });
}
PyObject* py_retain_grad(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    retain_grad(tensor_of(o));
    Py_RETURN_NONE;
  });
}
PyObject* is_view(PyObject* o, PyObject*) { return boolean(bool(base_of(tensor_of(o)))); }
PyObject* is_inference(PyObject* o, PyObject*) { return boolean(tensor_of(o)->inference); }

// Arguments by position or name into `slots` (null: not given).
template <size_t N>
void parse(const char* function, const char* const (&names)[N], PyObject* (&slots)[N], PyObject* const* args,
           Py_ssize_t n, PyObject* kwnames) {
  if (n > static_cast<Py_ssize_t>(N))
    raise(PyExc_TypeError, "%s() takes at most %zu arguments (%zd given)", function, N, n);
  for (Py_ssize_t i = 0; i < n; ++i) slots[i] = args[i];
  for (Py_ssize_t k = 0; kwnames && k < PyTuple_GET_SIZE(kwnames); ++k) {
    PyObject* name = PyTuple_GET_ITEM(kwnames, k);
    size_t i = 0;
    while (i < N && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) ++i;
    if (i == N) raise(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", function, name);
    if (slots[i]) raise(PyExc_TypeError, "%s() got multiple values for argument '%U'", function, name);
    slots[i] = args[n + k];
  }
}

PyObject* requires_grad_(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&] {
    PyObject* slots[1] = {};
    parse("requires_grad_", {"requires_grad"}, slots, args, n, kwnames);
    if (slots[0] && !PyBool_Check(slots[0]))
      raise(PyExc_TypeError, "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not %s",
            Py_TYPE(slots[0])->tp_name);
    const bool on = !slots[0] || slots[0] == Py_True;
    FL_CHECK(!on || is_differentiable(tensor_of(o)->dtype), ErrorKind::Runtime,
             "only Tensors of floating point dtype can require gradients [got %s]. Complex ones can as well.",
             dtype_name(tensor_of(o)->dtype));
    set_requires_grad(tensor_of(o), on);
    return Py_NewRef(o);
  });
}

TensorRef gradient_argument(PyObject* o) {
  if (!o || o == Py_None) return {};
  if (!is_tensor(o)) raise(PyExc_TypeError, "gradients can be either Tensors or None, but got %s", Py_TYPE(o)->tp_name);
  return TensorRef(tensor_of(o));
}

std::vector<TensorRef> inputs_argument(PyObject* o) {
  std::vector<TensorRef> inputs;
  if (!o || o == Py_None) return inputs;
  if (is_tensor(o)) return {TensorRef(tensor_of(o))};
  PyRef items = checked(PySequence_Fast(o, "inputs must be a Tensor or a sequence of Tensors"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    if (!is_tensor(item)) raise(PyExc_TypeError, "inputs must be Tensors, not '%s'", Py_TYPE(item)->tp_name);
    inputs.emplace_back(tensor_of(item));
  }
  if (inputs.empty()) raise(PyExc_RuntimeError, "'inputs' argument to backward() cannot be empty.");
  return inputs;
}

PyObject* backward(PyObject* o, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    PyObject* slots[4] = {};
    parse("backward", {"gradient", "retain_graph", "create_graph", "inputs"}, slots, args, n, kwnames);
    std::vector<TensorRef> roots{TensorRef(tensor_of(o))};
    Grads seeds;
    seeds.push_back(gradient_argument(slots[0]));
    const bool create_graph = slots[2] && truth(slots[2]);
    const bool retain_graph = slots[1] && slots[1] != Py_None ? truth(slots[1]) : create_graph;
    run_backward(roots, std::move(seeds), retain_graph, create_graph, inputs_argument(slots[3]), true, true);
    Py_RETURN_NONE;
  });
}

PyGetSetDef properties[] = {
    {"requires_grad", get_requires_grad, set_requires_grad_property,
     "Whether gradients are computed for this tensor. Can be set on leaves.", nullptr},
    {"grad", get_grad, set_grad_property, "The gradient that backward() accumulated, or None.", nullptr},
    {"grad_fn", get_grad_fn, nullptr, "The node of the graph that made this tensor; None for leaves.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether no recorded operation made this tensor.", nullptr},
    {"output_nr", get_output_nr, nullptr, "Which output of grad_fn this is.", nullptr},
    {"_version", get_version, nullptr, "How often the elements were changed in place.", nullptr},
    {"_base", get_base, nullptr, "The tensor that this is a view of, or None.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "Whether .grad of this result is kept.", nullptr},
    {"data", get_data, set_data_property,
     "The same elements without history, not watched for changes in place. Setting it replaces elements, sizes and "
     "dtype.",
     nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

template <class F>
PyCFunction fast(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

PyMethodDef methods[] = {
    {"detach", detach, METH_NOARGS, "detach() -> Tensor\n\nThe same elements without history."},
    {"detach_", detach_, METH_NOARGS, "detach_() -> Tensor\n\nForgets the history of this tensor."},
    {"retain_grad", py_retain_grad, METH_NOARGS, "retain_grad()\n\nKeeps .grad of a result."},
    {"_is_view", is_view, METH_NOARGS, "_is_view() -> bool"},
    {"is_inference", is_inference, METH_NOARGS, "is_inference() -> bool\n\nWhether it was made in inference mode."},
    {"requires_grad_", fast(requires_grad_), METH_FASTCALL | METH_KEYWORDS,
     "requires_grad_(requires_grad=True) -> Tensor\n\nSets requires_grad of a leaf."},
    {"backward", fast(backward), METH_FASTCALL | METH_KEYWORDS,
     "backward(gradient=None, retain_graph=None, create_graph=False, inputs=None)\n\n"
     "Computes the gradients of this tensor with respect to the leaves it was made from and adds them to their "
     ".grad.\n\n"
     "gradient: of this tensor; may be left out for a scalar. retain_graph: keeps the graph for another backward.\n"
     "create_graph: records the computation of the gradients. inputs: tensors whose .grad is wanted; default: all "
     "leaves."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_tensor_autograd(PyObject*) {
  PyObject* dict = tensor_type->tp_dict;
  for (PyGetSetDef* p = properties; p->name; ++p)
    check_status(PyDict_SetItemString(dict, p->name, checked(PyDescr_NewGetSet(tensor_type, p)).get()));
  for (PyMethodDef* m = methods; m->ml_name; ++m)
    check_status(PyDict_SetItemString(dict, m->ml_name, checked(PyDescr_NewMethod(tensor_type, m)).get()));
  PyType_Modified(tensor_type);
}

}  // namespace fl
