// What the row driver asks Python for.
#include <memory>
#include <string>
#include <unordered_map>

#include "bind/kernels.h"
#include "bind/types.h"
#include "bind/values.h"
#include "runtime/row.h"

namespace fl {
namespace {

PyObject* planner = nullptr;  // the module flambeau.kernels.row, imported when a row operator first runs

PyObject* plan_module() {
  if (!planner) planner = checked(PyImport_ImportModule("flambeau.kernels.row")).release();
  return planner;
}

std::string text_of(PyObject* o) {
  const char* text = PyUnicode_AsUTF8(o);
  if (!text) throw PythonError{};
  return text;
}

PyRef attribute(PyObject* o, const char* name) { return checked(PyObject_GetAttrString(o, name)); }

int param_index(const Overload& overload, std::string_view name) {
  for (size_t i = 0; i < overload.params.size(); ++i)
    if (overload.params[i].name == name) return static_cast<int>(i);
  return -1;
}

// dims: "dim", "dim or none", "all", "class", "last NAME" or "except N".
void read_dims(RowInfo& info, const Overload& overload, const std::string& dims) {
  if (dims == "all") {
    info.rule = RowInfo::Rule::All;
  } else if (dims == "class") {
    info.rule = RowInfo::Rule::Class;
  } else if (dims.starts_with("last ")) {
    info.rule = RowInfo::Rule::Last;
    info.param = param_index(overload, dims.substr(5));
  } else if (dims.starts_with("except ")) {
    info.rule = RowInfo::Rule::Except;
    info.axis = std::stoi(dims.substr(7));
  } else {
    info.rule = RowInfo::Rule::Param;
    info.param = param_index(overload, "dim");
    info.empty_is_all = dims == "dim";
  }
}

const RowInfo* make_info(const Overload& overload) {
  static std::unordered_map<const Overload*, std::unique_ptr<RowInfo>> known;
  std::unique_ptr<RowInfo>& info = known[&overload];
  if (info) return info.get();
  auto made = std::make_unique<RowInfo>();
  PyRef described = checked(PyObject_CallMethod(plan_module(), "info", "s", overload.op->name.c_str()));
  made->in_roles = text_of(attribute(described.get(), "roles").get());
  made->out_roles = text_of(attribute(described.get(), "out").get());
  made->out_dtypes = text_of(attribute(described.get(), "out_dtypes").get());
  made->empty_error = text_of(attribute(described.get(), "empty").get());
  read_dims(*made, overload, text_of(attribute(described.get(), "dims").get()));
  made->keepdim = param_index(overload, "keepdim");
  made->dtype = param_index(overload, "dtype");
  for (size_t i = 0; i < overload.params.size(); ++i)
    if (overload.params[i].type == ParamType::Tensor && !overload.params[i].written)
      made->operands.push_back(static_cast<int>(i));
  while (made->in_roles.size() < made->operands.size()) made->in_roles += 'F';
  info = std::move(made);
  return info.get();
}

PyRef codes(const std::vector<DType>& dtypes) {
  PyRef list = checked(PyTuple_New(static_cast<Py_ssize_t>(dtypes.size())));
  for (size_t i = 0; i < dtypes.size(); ++i)
    PyTuple_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i),
                     checked(PyUnicode_FromString(dtype_code(dtypes[i]))).release());
  return list;
}

DType dtype_from(PyObject* code) {
  std::string text = text_of(code);
  for (int d = 0; d < kDTypes; ++d)
    if (text == dtype_code(static_cast<DType>(d))) return static_cast<DType>(d);
  fail(ErrorKind::Runtime, "no dtype has the code %s", text.c_str());
}

std::vector<int> ints_from(PyObject* sequence) {
  PyRef fast = checked(PySequence_Fast(sequence, "a plan's operands"));
  std::vector<int> out;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fast.get()); ++i)
    out.push_back(static_cast<int>(PyLong_AsLong(PySequence_Fast_GET_ITEM(fast.get(), i))));
  return out;
}

std::vector<std::vector<DType>> levels_from(PyObject* sequence) {
  std::vector<std::vector<DType>> levels;
  each_item(sequence, [&](PyObject* level) {
    std::vector<DType>& dtypes = levels.emplace_back();
    each_item(level, [&](PyObject* code) { dtypes.push_back(dtype_from(code)); });
  });
  return levels;
}

RowStep read_step(PyObject* o) {
  RowStep step;
  step.over_batch = PyObject_IsTrue(attribute(o, "over_batch").get()) == 1;
  step.ordered = PyObject_IsTrue(attribute(o, "ordered").get()) == 1;
  step.picks = PyObject_IsTrue(attribute(o, "picks").get()) == 1;
  step.joins = PyObject_IsTrue(attribute(o, "joins").get()) == 1;
  step.inputs = ints_from(attribute(o, "inputs").get());
  step.outputs = ints_from(attribute(o, "outputs").get());
  step.roles = text_of(attribute(o, "roles").get());
  step.out_roles = text_of(attribute(o, "out_roles").get());
  step.levels = levels_from(attribute(o, "state_dtypes").get());
  step.chunk_levels = levels_from(attribute(o, "chunk_dtypes").get());
  return step;
}

// What the kernels of a call depend on: the overload, static attributes, which operands there are, and dtypes.
std::string plan_key(const Call& call, const std::vector<DType>& in, const std::vector<DType>& out) {
  std::string key(reinterpret_cast<const char*>(&call.overload), sizeof call.overload);
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    const Param& p = call.overload->params[i];
    const Value& v = call[static_cast<int>(i)];
    if (p.type == ParamType::Tensor) key += v.is_tensor() ? 'T' : 'N';
    if (!p.is_static) continue;
    key += static_cast<char>('0' + static_cast<int>(v.tag()));
    if (v.tag() == Value::Tag::Str)
      key += v.str() + '\0';
    else if (v.is_number()) {
      double number = v.as_double();
      key.append(reinterpret_cast<const char*>(&number), sizeof number);
    } else if (v.tag() == Value::Tag::Ints) {
      key.append(reinterpret_cast<const char*>(v.ints().data()), v.ints().size() * sizeof(int64_t));
    }
  }
  for (DType d : in) key += static_cast<char>(d);
  for (DType d : out) key += static_cast<char>(d);
  return key;
}

RowPlan* make_plan(const Call& call, const std::vector<DType>& in, const std::vector<DType>& out) {
  static std::unordered_map<std::string, std::unique_ptr<RowPlan>> known;
  std::string key = plan_key(call, in, out);
  auto it = known.find(key);
  if (it != known.end()) return it->second.get();
  PyRef params = checked(PyList_New(0));
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    const Param& p = call.overload->params[i];
    const Value& v = call[static_cast<int>(i)];
    PyRef value = p.type == ParamType::Tensor ? PyRef::borrow(v.is_tensor() ? Py_True : Py_None)
                  : p.is_static               ? checked(to_python(v))
                                              : PyRef::borrow(Py_None);
    PyRef row = checked(Py_BuildValue("(siOO)", p.name.c_str(), static_cast<int>(p.type),
                                      p.is_static ? Py_True : Py_False, value.get()));
    check_status(PyList_Append(params.get(), row.get()));
  }
  PyRef made = checked(PyObject_CallMethod(plan_module(), "plan", "sOOO", call.op().name.c_str(), params.get(),
                                           codes(in).get(), codes(out).get()));
  auto plan = std::make_unique<RowPlan>();
  each_item(attribute(made.get(), "temps").get(), [&](PyObject* temp) {
    PyRef role = checked(PySequence_GetItem(temp, 0)), dtype = checked(PySequence_GetItem(temp, 1));
    plan->temps.push_back({text_of(role.get())[0], dtype_from(dtype.get())});
  });
  each_item(attribute(made.get(), "steps").get(), [&](PyObject* step) { plan->steps.push_back(read_step(step)); });
  plan->python = made.release();
  return (known[key] = std::move(plan)).get();
}

void* make_kernel(RowPlan& plan, int step, const std::string& key) {
  PyRef address = checked(PyObject_CallMethod(static_cast<PyObject*>(plan.python), "kernel", "is", step, key.c_str()));
  void* p = PyLong_AsVoidPtr(address.get());
  if (PyErr_Occurred()) throw PythonError{};
  return p;
}

PyObject* py_dtype_code(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    DType d;
    if (!to_dtype(o, d)) raise(PyExc_TypeError, "dtype_code() takes a dtype, not %s", Py_TYPE(o)->tp_name);
    return PyUnicode_FromString(dtype_code(d));
  });
}

PyMethodDef methods[] = {{"dtype_code", py_dtype_code, METH_O, "dtype_code(dtype): its name in kernel keys."},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_kernels(PyObject* module) {
  row_info = make_info;
  row_planner = make_plan;
  row_kernel = make_kernel;
  check_status(PyModule_AddFunctions(module, methods));
  add_launches(module);
}

}  // namespace fl
