// The operators of Python on tensors: arithmetic and comparison call the functions set for them by set_slot().
#include "bind/tensor_slots.h"

#include <string_view>

#include "bind/construct.h"
#include "bind/indexing.h"
#include "bind/interop.h"
#include "bind/modes.h"
#include "bind/op_function.h"
#include "bind/values.h"

namespace fl {
namespace {

enum Slot {
  kAdd,
  kSub,
  kMul,
  kTrueDiv,
  kFloorDiv,
  kMod,
  kPow,
  kMatmul,
  kAnd,
  kOr,
  kXor,
  kLshift,
  kRshift,
  kIAdd,
  kISub,
  kIMul,
  kITrueDiv,
  kIFloorDiv,
  kIMod,
  kIPow,
  kIMatmul,
  kIAnd,
  kIOr,
  kIXor,
  kILshift,
  kIRshift,
  kNeg,
  kAbs,
  kInvert,
  kPositive,
  kLt,
  kLe,
  kEq,
  kNe,
  kGt,
  kGe,
  kContains,
  kUnbind,
  kSlots
};
constexpr const char* kNames[kSlots] = {
    "add",     "sub",    "mul",    "truediv", "floordiv", "mod",     "pow",      "matmul",    "and",    "or",
    "xor",     "lshift", "rshift", "iadd",    "isub",     "imul",    "itruediv", "ifloordiv", "imod",   "ipow",
    "imatmul", "iand",   "ior",    "ixor",    "ilshift",  "irshift", "neg",      "abs",       "invert", "positive",
    "lt",      "le",     "eq",     "ne",      "gt",       "ge",      "contains", "unbind"};
OpFunction* slots[kSlots];
PyObject* repr_function = nullptr;

bool is_number(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (type == &PyFloat_Type || type == &PyLong_Type || type == &PyBool_Type || type == &PyComplex_Type) return true;
  Value v;
  return number_from_python(o, v);
}

// The operand as operators take it, NumPy's arrays as tensors; null: Python asks the other operand's class.
PyRef operand(PyObject* o, Slot slot) {
  if (is_tensor(o)) return PyRef::borrow(o);
  bool numbers = slot != kMatmul && slot != kIMatmul;
  if ((numbers && is_number(o)) || must_intercept(&o, 1)) return PyRef::borrow(o);
  return is_ndarray(o) ? checked(wrap(tensor_from_array(o))) : PyRef();
}

PyObject* run_binary(Slot slot, PyObject* a, PyObject* b) {
  if (slots[slot] && Py_TYPE(a) == tensor_type && Py_TYPE(b) == tensor_type) return call_binary(slots[slot], a, b);
  return guarded([&]() -> PyObject* {
    if (!slots[slot]) Py_RETURN_NOTIMPLEMENTED;
    PyRef first = operand(a, slot), second = operand(b, slot);
    if (!first || !second) Py_RETURN_NOTIMPLEMENTED;
    return call_binary(slots[slot], first.get(), second.get());
  });
}

template <Slot slot>
PyObject* binary(PyObject* a, PyObject* b) {
  return run_binary(slot, a, b);
}
template <Slot slot>
PyObject* power(PyObject* a, PyObject* b, PyObject* modulus) {
  if (modulus != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return run_binary(slot, a, b);
}
template <Slot slot>
PyObject* unary(PyObject* a) {
  if (slots[slot]) return call_unary(slots[slot], a);
  PyErr_Format(PyExc_NotImplementedError, "operator '%s' is not set", kNames[slot]);
  return nullptr;
}

PyObject* invert(PyObject* a) {
  const DType d = tensor_of(a)->dtype;
  if (is_integer(d) || is_bool(d)) return unary<kInvert>(a);
  PyErr_SetString(PyExc_TypeError, "~ (operator.invert) is only implemented on integer and Boolean-type tensors");
  return nullptr;
}

PyObject* compare(PyObject* a, PyObject* b, int op) {
  static_assert(Py_LT == 0 && Py_LE == 1 && Py_EQ == 2 && Py_NE == 3 && Py_GT == 4 && Py_GE == 5);
  return run_binary(static_cast<Slot>(kLt + op), a, b);
}

// ---- conversions to Python's numbers

int to_bool(PyObject* o) {
  return guarded(
      [&]() -> int {
        Tensor* t = tensor_of(o);
        FL_CHECK(t->numel() != 0, ErrorKind::Runtime, "Boolean value of Tensor with no values is ambiguous");
        FL_CHECK(t->numel() == 1, ErrorKind::Runtime, "Boolean value of Tensor with more than one value is ambiguous");
        FL_CHECK(!t->is_meta(), ErrorKind::Runtime, "Boolean value of a meta tensor is not known: it has no data");
        Value v = item_value(*t);
        return v.tag() == Value::Tag::Complex ? v.as_complex() != 0.0 : v.as_double() != 0;
      },
      -1);
}

PyRef python_scalar(PyObject* o) {
  FL_CHECK(tensor_of(o)->numel() == 1, ErrorKind::Value, "only one element tensors can be converted to Python scalars");
  return checked(item_object(*tensor_of(o)));
}
void refuse_complex(PyObject* o, const char* type) {
  if (PyComplex_Check(o) && PyComplex_ImagAsDouble(o) != 0)
    raise(PyExc_RuntimeError, "value cannot be converted to type %s without overflow", type);
}
PyObject* to_int(PyObject* o) {
  return guarded([&]() -> PyObject* {
    PyRef v = python_scalar(o);
    refuse_complex(v.get(), "int64_t");
    if (PyComplex_Check(v.get())) v = checked(PyFloat_FromDouble(PyComplex_RealAsDouble(v.get())));
    return PyNumber_Long(v.get());
  });
}
PyObject* to_float(PyObject* o) {
  return guarded([&]() -> PyObject* {
    PyRef v = python_scalar(o);
    refuse_complex(v.get(), "double");
    if (PyComplex_Check(v.get())) return PyFloat_FromDouble(PyComplex_RealAsDouble(v.get()));
    return PyNumber_Float(v.get());
  });
}
PyObject* to_index(PyObject* o) {
  return guarded([&]() -> PyObject* {
    Tensor* t = tensor_of(o);
    FL_CHECK(t->numel() == 1 && (is_integer(t->dtype) || is_bool(t->dtype)), ErrorKind::Type,
             "only integer tensors of a single element can be converted to an index");
    PyRef v = checked(item_object(*t));
    return PyNumber_Index(v.get());
  });
}
PyObject* to_complex(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyRef v = python_scalar(o);
    Py_complex c = PyComplex_AsCComplex(v.get());
    if (PyErr_Occurred()) throw PythonError{};
    return PyComplex_FromCComplex(c);
  });
}

// ---- containers

Py_ssize_t length(PyObject* o) {
  Tensor* t = tensor_of(o);
  if (t->dim() > 0) return static_cast<Py_ssize_t>(t->sizes[0]);
  PyErr_SetString(PyExc_TypeError, "len() of a 0-d tensor");
  return -1;
}
PyObject* iterate(PyObject* o) {
  return guarded([&]() -> PyObject* {
    if (tensor_of(o)->dim() == 0) raise(PyExc_TypeError, "iteration over a 0-d tensor");
    PyRef items = checked(unary<kUnbind>(o));
    return PyObject_GetIter(items.get());
  });
}
int contains(PyObject* o, PyObject* value) {
  return guarded(
      [&]() -> int {
        if (!is_tensor(value) && !is_number(value)) {
          PyRef type = checked(PyObject_Repr(reinterpret_cast<PyObject*>(Py_TYPE(value))));
          raise(PyExc_RuntimeError, "Tensor.__contains__ only supports Tensor or scalar, but you passed in a %U.",
                type.get());
        }
        PyRef equal = checked(call_binary(slots[kEq], o, value));
        PyRef any = checked(call_unary(slots[kContains], equal.get()));
        return to_bool(any.get());
      },
      -1);
}

// id(tensor), as in PyTorch.
Py_hash_t hash(PyObject* o) { return reinterpret_cast<Py_hash_t>(o); }
PyObject* repr(PyObject* o) {
  if (repr_function) return PyObject_CallOneArg(repr_function, o);
  return PyUnicode_FromFormat("<Tensor at %p>", o);
}

template <class F>
void* slot_pointer(F* f) {
  return reinterpret_cast<void*>(f);
}

PyType_Slot type_slots[] = {{Py_nb_add, slot_pointer(binary<kAdd>)},
                            {Py_nb_subtract, slot_pointer(binary<kSub>)},
                            {Py_nb_multiply, slot_pointer(binary<kMul>)},
                            {Py_nb_true_divide, slot_pointer(binary<kTrueDiv>)},
                            {Py_nb_floor_divide, slot_pointer(binary<kFloorDiv>)},
                            {Py_nb_remainder, slot_pointer(binary<kMod>)},
                            {Py_nb_power, slot_pointer(power<kPow>)},
                            {Py_nb_matrix_multiply, slot_pointer(binary<kMatmul>)},
                            {Py_nb_and, slot_pointer(binary<kAnd>)},
                            {Py_nb_or, slot_pointer(binary<kOr>)},
                            {Py_nb_xor, slot_pointer(binary<kXor>)},
                            {Py_nb_lshift, slot_pointer(binary<kLshift>)},
                            {Py_nb_rshift, slot_pointer(binary<kRshift>)},
                            {Py_nb_inplace_add, slot_pointer(binary<kIAdd>)},
                            {Py_nb_inplace_subtract, slot_pointer(binary<kISub>)},
                            {Py_nb_inplace_multiply, slot_pointer(binary<kIMul>)},
                            {Py_nb_inplace_true_divide, slot_pointer(binary<kITrueDiv>)},
                            {Py_nb_inplace_floor_divide, slot_pointer(binary<kIFloorDiv>)},
                            {Py_nb_inplace_remainder, slot_pointer(binary<kIMod>)},
                            {Py_nb_inplace_power, slot_pointer(power<kIPow>)},
                            {Py_nb_inplace_matrix_multiply, slot_pointer(binary<kIMatmul>)},
                            {Py_nb_inplace_and, slot_pointer(binary<kIAnd>)},
                            {Py_nb_inplace_or, slot_pointer(binary<kIOr>)},
                            {Py_nb_inplace_xor, slot_pointer(binary<kIXor>)},
                            {Py_nb_inplace_lshift, slot_pointer(binary<kILshift>)},
                            {Py_nb_inplace_rshift, slot_pointer(binary<kIRshift>)},
                            {Py_nb_negative, slot_pointer(unary<kNeg>)},
                            {Py_nb_absolute, slot_pointer(unary<kAbs>)},
                            {Py_nb_invert, slot_pointer(invert)},
                            {Py_nb_positive, slot_pointer(unary<kPositive>)},
                            {Py_nb_bool, slot_pointer(to_bool)},
                            {Py_nb_int, slot_pointer(to_int)},
                            {Py_nb_float, slot_pointer(to_float)},
                            {Py_nb_index, slot_pointer(to_index)},
                            {Py_tp_richcompare, slot_pointer(compare)},
                            {Py_tp_hash, slot_pointer(hash)},
                            {Py_tp_repr, slot_pointer(repr)},
                            {Py_tp_iter, slot_pointer(iterate)},
                            {Py_mp_length, slot_pointer(length)},
                            {Py_mp_subscript, slot_pointer(get_item)},
                            {Py_mp_ass_subscript, slot_pointer(set_item)},
                            {Py_sq_contains, slot_pointer(contains)},
                            {Py_tp_new, slot_pointer(tensor_new)},
                            {Py_bf_getbuffer, slot_pointer(get_buffer)},
                            {Py_bf_releasebuffer, slot_pointer(release_buffer)},
                            {0, nullptr}};

PyObject* set_slot(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !PyUnicode_Check(args[0]) || !is_op_function(args[1]))
      raise(PyExc_TypeError, "set_slot(name, function)");
    std::string_view name = PyUnicode_AsUTF8(args[0]);
    for (int i = 0; i < kSlots; ++i) {
      if (name != kNames[i]) continue;
      Py_XSETREF(slots[i], reinterpret_cast<OpFunction*>(Py_NewRef(args[1])));
      Py_RETURN_NONE;
    }
    raise(PyExc_ValueError, "set_slot(): there is no slot %R", args[0]);
  });
}
PyObject* set_repr(PyObject*, PyObject* function) {
  Py_XSETREF(repr_function, Py_NewRef(function));
  Py_RETURN_NONE;
}

PyMethodDef functions[] = {
    {"set_slot", py_function(set_slot), METH_FASTCALL,
     "set_slot(name, function): what Python's operator calls (add, iadd, neg, lt, contains, unbind, ...)."},
    {"set_repr", set_repr, METH_O, "Sets the function that makes repr(tensor)."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyType_Slot* tensor_type_slots() { return type_slots; }
PyMethodDef tensor_complex_method() { return {"__complex__", to_complex, METH_NOARGS, nullptr}; }
void add_slots(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
