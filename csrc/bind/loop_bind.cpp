// Loop operators, whose launches are planned in Python, and the launches that Python makes itself.
//
// A plan that looks only at sizes, strides, dtypes and numbers comes to the same launch for the same ones. Such a
// launch is remembered: later calls make the results and run the kernel without Python. Results may begin as copies of
// arguments, and arguments may be indices, which are tested again: one that lies outside is Python's to report.
#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>

#include "autograd/node.h"
#include "bind/kernels.h"
#include "bind/tensor_object.h"
#include "bind/values.h"
#include "runtime/call_key.h"
#include "runtime/copy.h"
#include "runtime/loop.h"
#include "runtime/positions.h"

namespace fl {
namespace {

struct LoopLaunch {
  LoopKernel kernel = nullptr;
  std::vector<int64_t> ints;
  int64_t iterations = 0, work = 0;
  std::vector<Slot> params;
};

// What a plan ran while it was watched.
struct Observed {
  int runs = 0;
  std::vector<TensorRef> buffers, sources, indices;
  std::vector<int64_t> sizes;  // that indices lie in
  LoopLaunch launch;
};
thread_local Observed* observed = nullptr;  // of the innermost plan that runs

class Watch {
 public:
  explicit Watch(Observed* seen) : outer_(std::exchange(observed, seen)) {}
  ~Watch() { observed = outer_; }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

 private:
  Observed* outer_;
};

// A launch with its tensors left open: buffers are arguments of the call or its results, by number.
struct Remembered {
  struct Place {
    bool is_result;
    size_t index;
    size_t element = 0;  // of a list
    Tensor* in(const Call& call, const Outputs& outputs) const {
      const Value& v = is_result ? outputs[index] : call[static_cast<int>(index)];
      return v.is_tensor() ? v.tensor() : v.tensors()[element].get();
    }
  };
  struct Result {
    Dims sizes, strides;
    DType dtype;
  };
  struct Index {
    Place place;
    int64_t size;
  };
  LoopLaunch launch;
  std::vector<Place> buffers;
  std::vector<Result> results;  // that are made; a call in place gives back what it changes
  std::vector<Place> sources;   // what the first of them are copies of before the launch
  std::vector<Index> indices;
};
using RememberedPtr = std::shared_ptr<const Remembered>;

constexpr size_t kMostRemembered = 4096;

std::unordered_map<std::string, RememberedPtr>& remembered() {
  static auto* map = new std::unordered_map<std::string, RememberedPtr>;
  return *map;
}

// Calls f with each tensor among the arguments and where it stands.
template <class F>
void each_argument(const Call& call, F&& f) {
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    size_t element = 0;
    for_each_tensor(call[static_cast<int>(i)], [&](Tensor* t) {
      if (t) f(t, Remembered::Place{false, i, element});
      ++element;
    });
  }
}

// Whether a launch writes to the tensor at a place.
bool changed(const Call& call, const Remembered::Place& place) {
  return place.is_result || static_cast<int>(place.index) == call.overload->mutated;
}

// Appends which arguments are the same memory: where they are, one stands for the other among a launch's buffers.
void append_sharing(const Call& call, std::string& key) {
  std::vector<const char*> seen;
  each_argument(call, [&](Tensor* t, Remembered::Place) {
    const char* data = t->data();
    const int64_t first = std::ranges::find(seen, data) - seen.begin();
    key.append(reinterpret_cast<const char*>(&first), sizeof first);
    seen.push_back(data);
  });
}

// The launch with its tensors left open; nothing where one is neither an argument, as it is, nor a result, as the copy
// of an argument in order or in another dtype.
RememberedPtr opened(const Call& call, Observed&& seen, const Outputs& results) {
  std::vector<std::pair<Tensor*, Remembered::Place>> known;
  each_argument(call, [&](Tensor* t, Remembered::Place place) { known.emplace_back(t, place); });
  auto out = std::make_shared<Remembered>();
  for (size_t k = 0; call.overload->mutated < 0 && k < results.size(); ++k) {
    Tensor* t = results[k].tensor();
    if (t->offset != 0) return nullptr;
    out->results.push_back({t->sizes, t->strides, t->dtype});
    known.emplace_back(t, Remembered::Place{true, k});
  }
  for (size_t i = 0; i < known.size(); ++i)  // what is written is nothing that is read; arguments may share memory
    for (size_t k = 0; k < i; ++k)
      if (known[i].first->storage == known[k].first->storage &&
          (changed(call, known[i].second) || changed(call, known[k].second)))
        return nullptr;
  bool found = true;
  auto place_of = [&](const TensorRef& t) {
    auto same = [&](auto& k) { return k.first->storage == t->storage && k.first->data() == t->data(); };
    auto at = std::ranges::find_if(known, same);
    found &= at != known.end();
    return at == known.end() ? Remembered::Place{} : at->second;
  };
  for (const TensorRef& t : seen.buffers) out->buffers.push_back(place_of(t));
  for (const TensorRef& t : seen.sources) out->sources.push_back(place_of(t));
  for (size_t k = 0; k < seen.indices.size(); ++k) out->indices.push_back({place_of(seen.indices[k]), seen.sizes[k]});
  out->launch = std::move(seen.launch);
  return found ? out : nullptr;
}

// Whether a launch serves this call too: its indices lie inside, and what it changes in place is nothing that it reads.
bool serves(const Remembered& r, const Call& call) {
  if (const int mutated = call.overload->mutated; mutated >= 0) {
    bool apart = true;
    each_argument(call, [&](Tensor* t, Remembered::Place place) {
      apart &= place.index == static_cast<size_t>(mutated) || t->storage != call[mutated].tensor()->storage;
    });
    if (!apart) return false;
  }
  return std::ranges::all_of(r.indices, [&](const Remembered::Index& index) {
    int64_t bad;
    return !first_outside(*index.place.in(call, {}), 0, index.size, &bad);
  });
}

void run_again(const Remembered& r, const Call& call, Outputs& outputs) {
  if (call.overload->mutated >= 0) outputs.push_back(call[call.overload->mutated]);
  for (const Remembered::Result& t : r.results)
    outputs.emplace_back(Tensor::empty_strided(t.sizes, t.strides, t.dtype));
  for (size_t k = 0; k < r.sources.size(); ++k) copy_into(outputs[k].tensor(), r.sources[k].in(call, outputs));
  std::vector<Tensor*> buffers;
  for (const Remembered::Place& place : r.buffers) buffers.push_back(place.in(call, outputs));
  const LoopLaunch& l = r.launch;
  run_loop(l.kernel, buffers, l.ints, l.iterations, l.work, l.params.data());
}

// In place: what the plan made is written to the tensor that the call changes.
Value written_back(const Call& call, const Value& made) {
  const Value& self = call[call.overload->mutated];
  if (made.tensor() != self.tensor()) copy_into(self.tensor(), made.tensor());
  return self;
}

// Runs the plan in Python.
void plan_and_run(const Call& call, Outputs& outputs) {
  static PyObject* module = nullptr;
  if (!module) module = checked(PyImport_ImportModule("flambeau.kernels.loop")).release();
  PyRef function = checked(PyObject_GetAttrString(module, "call"));
  std::vector<PyRef> values{PyRef::borrow(static_cast<PyObject*>(call.op().python)),
                            PyRef::borrow(call.overload->mutated >= 0 ? Py_True : Py_False)};
  for (size_t i = 0; i < call.overload->params.size(); ++i)
    values.push_back(checked(to_python(call[static_cast<int>(i)])));
  std::vector<PyObject*> stack;
  for (const PyRef& v : values) stack.push_back(v.get());
  bool grad = std::exchange(GradMode::enabled, false);
  PyRef result = PyRef::steal(PyObject_Vectorcall(function.get(), stack.data(), stack.size(), nullptr));
  GradMode::enabled = grad;
  if (!result) throw PythonError{};
  Return tensor{"", ParamType::Tensor};
  each_item(result.get(), [&](PyObject* o) { outputs.push_back(result_from_python(o, tensor)); });
  if (call.overload->mutated >= 0) outputs[0] = written_back(call, outputs[0]);
}

void loop_forward(const Call& call, Outputs& outputs) {
  std::string key;
  Observed seen;
  const bool pure = call.op().pure && append_call(call, key, true);
  if (pure) append_sharing(call, key);
  if (pure) {
    auto known = remembered().find(key);
    RememberedPtr launch = known == remembered().end() ? nullptr : known->second;  // others may forget it meanwhile
    if (launch && serves(*launch, call)) return run_again(*launch, call, outputs);
  }
  {
    Watch watch(pure ? &seen : nullptr);
    plan_and_run(call, outputs);
  }
  if (seen.runs != 1) return;
  RememberedPtr launch = opened(call, std::move(seen), outputs);
  if (!launch) return;
  if (remembered().size() >= kMostRemembered) remembered().clear();
  remembered().insert_or_assign(std::move(key), std::move(launch));
}

RegisterNative loop_native("loop body", loop_forward);

// ---- launches made by Python

std::vector<TensorRef> tensors_from(PyObject* sequence) {
  std::vector<TensorRef> out;
  each_item(sequence, [&](PyObject* o) { out.emplace_back(tensor_argument(o, "launch", "buffer")); });
  return out;
}

std::vector<int64_t> ints_from(PyObject* sequence) {
  std::vector<int64_t> out;
  each_item(sequence, [&](PyObject* o) { out.push_back(PyLong_AsLongLong(o)); });
  return out;
}

std::vector<Slot> slots_from(PyObject* sequence) {
  std::vector<Slot> out;
  each_item(sequence, [&](PyObject* o) {
    Slot s{};
    if (PyLong_Check(o)) {
      s.i = PyLong_AsLongLong(o);
    } else if (PyComplex_Check(o)) {
      s.c[0] = PyComplex_RealAsDouble(o);
      s.c[1] = PyComplex_ImagAsDouble(o);
    } else {
      s.f = PyFloat_AsDouble(o);
    }
    if (PyErr_Occurred()) throw PythonError{};
    out.push_back(s);
  });
  return out;
}

std::vector<Tensor*> pointers(const std::vector<TensorRef>& tensors) {
  std::vector<Tensor*> out;
  for (const TensorRef& t : tensors) out.push_back(t.get());
  return out;
}

// run_loop(address, buffers, ints, iterations, work, params, copied, indices, sizes)
PyObject* py_run_loop(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 9) raise(PyExc_TypeError, "run_loop() takes 9 arguments, got %zd", n);
    void* kernel = PyLong_AsVoidPtr(args[0]);
    if (PyErr_Occurred()) throw PythonError{};
    std::vector<TensorRef> buffers = tensors_from(args[1]);
    std::vector<int64_t> ints = ints_from(args[2]);
    int64_t iterations = PyLong_AsLongLong(args[3]), work = PyLong_AsLongLong(args[4]);
    std::vector<Slot> params = slots_from(args[5]);
    if (PyErr_Occurred()) throw PythonError{};
    for (const TensorRef& t : buffers)
      if (t->is_meta()) Py_RETURN_NONE;
    auto function = reinterpret_cast<LoopKernel>(kernel);
    run_loop(function, pointers(buffers), ints, iterations, work, params.data());
    if (observed) {
      ++observed->runs;
      observed->buffers = std::move(buffers);
      observed->launch = {function, std::move(ints), iterations, work, std::move(params)};
      observed->sources = tensors_from(args[6]);
      observed->indices = tensors_from(args[7]);
      observed->sizes = ints_from(args[8]);
    }
    Py_RETURN_NONE;
  });
}

// run_multi(address, tensors, width, params, outputs)
PyObject* py_run_multi(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 5) raise(PyExc_TypeError, "run_multi() takes 5 arguments, got %zd", n);
    void* kernel = PyLong_AsVoidPtr(args[0]);
    auto width = static_cast<size_t>(PyLong_AsLong(args[2])), outputs = static_cast<size_t>(PyLong_AsLong(args[4]));
    if (PyErr_Occurred()) throw PythonError{};
    std::vector<TensorRef> tensors = tensors_from(args[1]);
    std::vector<Slot> params = slots_from(args[3]);
    run_multi(reinterpret_cast<ElementKernel>(kernel), pointers(tensors), static_cast<int>(width), params.data());
    for (size_t group = 0; group < tensors.size(); group += width)
      for (size_t i = 0; i < outputs; ++i) tensors[group + i]->bump_version();
    Py_RETURN_NONE;
  });
}

bool same_layout(const std::vector<TensorRef>& tensors, size_t width) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = *tensors[i];
    if (t.dtype != tensors[0]->dtype || t.is_meta() || !t.is_contiguous() || t.sizes != tensors[i - i % width]->sizes)
      return false;
  }
  return tensors.empty() || is_float(tensors[0]->dtype);
}

// fits_multi(tensors, width): what run_multi asks of its tensors
PyObject* py_fits_multi(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) raise(PyExc_TypeError, "fits_multi() takes 2 arguments, got %zd", n);
    auto width = static_cast<size_t>(PyLong_AsLong(args[1]));
    if (PyErr_Occurred()) throw PythonError{};
    return PyBool_FromLong(same_layout(tensors_from(args[0]), width));
  });
}

// count_up(tensors): adds one to numbers in float32; their new values, or None (and nothing done) where one is not such
PyObject* py_count_up(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    std::vector<TensorRef> tensors = tensors_from(o);
    for (const TensorRef& t : tensors)
      if (t->dtype != DType::F32 || t->numel() != 1 || t->is_meta()) Py_RETURN_NONE;
    PyRef list = checked(PyList_New(static_cast<Py_ssize_t>(tensors.size())));
    for (size_t i = 0; i < tensors.size(); ++i) {
      float value = *tensors[i]->data<float>() += 1;
      tensors[i]->bump_version();
      PyList_SET_ITEM(list.get(), static_cast<Py_ssize_t>(i), checked(PyFloat_FromDouble(value)).release());
    }
    return list.release();
  });
}

PyMethodDef methods[] = {
    {"run_loop", py_function(py_run_loop), METH_FASTCALL,
     "run_loop(address, buffers, ints, iterations, work, params, copied, indices, sizes): runs a loop kernel. The last "
     "three are what a plan says of its arguments."},
    {"run_multi", py_function(py_run_multi), METH_FASTCALL,
     "run_multi(address, tensors, width, params, outputs): runs an elementwise kernel over groups of tensors."},
    {"fits_multi", py_function(py_fits_multi), METH_FASTCALL,
     "fits_multi(tensors, width): whether run_multi takes them: one floating dtype, equal sizes in a group, "
     "contiguous."},
    {"count_up", py_count_up, METH_O, "count_up(tensors): adds one to float32 numbers and returns their values."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_launches(PyObject* module) { check_status(PyModule_AddFunctions(module, methods)); }

}  // namespace fl
