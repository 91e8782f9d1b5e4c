// Integers, slices, None and ... make a view: one view for the whole expression, or, where a gradient is recorded, a
// view operator for each. Index tensors, masks and lists then go to `index` and `index_put_` over that view.
#include "bind/indexing.h"

#include <algorithm>
#include <optional>

#include "autograd/call.h"
#include "autograd/meta.h"
#include "bind/construct.h"
#include "bind/modes.h"
#include "bind/op_function.h"
#include "bind/values.h"
#include "runtime/copy.h"
#include "runtime/promotion.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

// A view that is being composed.
class ViewBuilder {
 public:
  explicit ViewBuilder(Tensor* source)
      : source_(source), offset_(source->offset), sizes_(source->sizes), strides_(source->strides) {}

  // `shown`: the dimension that a message names.
  void select(int dim, int64_t index, int shown) {
    int64_t size = sizes_[dim];
    FL_CHECK(index >= -size && index < size, ErrorKind::Index,
             "index %lld is out of bounds for dimension %d with size %lld", static_cast<long long>(index), shown,
             static_cast<long long>(size));
    steps_.push_back({Step::Select, dim, index, 0, 0});
    offset_ += (index < 0 ? index + size : index) * strides_[dim];
    sizes_.erase(dim);
    strides_.erase(dim);
  }
  void slice(int dim, int64_t start, int64_t stop, int64_t step) {
    int64_t size = sizes_[dim];
    if (start == 0 && stop == size && step == 1) return;
    steps_.push_back({Step::Slice, dim, start, stop, step});
    offset_ += start * strides_[dim];
    sizes_[dim] = (stop - start + step - 1) / step;
    strides_[dim] *= step;
  }
  void unsqueeze(int dim) {
    steps_.push_back({Step::Unsqueeze, dim, 0, 0, 0});
    int64_t stride = dim < sizes_.size() ? sizes_[dim] * strides_[dim] : 1;
    sizes_.insert(dim, 1);
    strides_.insert(dim, stride);
  }
  int64_t size(int dim) const { return sizes_[dim]; }
  bool empty() const { return steps_.empty(); }

  // The view without any history.
  TensorRef bare() const {
    TensorRef t = Tensor::make(source_->storage, offset_, sizes_, strides_, source_->dtype);
    t->own_version = source_->own_version;
    t->inference = source_->inference;
    return t;
  }
  TensorRef finish() const {
    if (GradMode::enabled && requires_grad(source_)) return recorded();
    TensorRef t = bare();
    if (!source_->inference) make_view(t.get(), source_, GradMode::enabled ? ViewOrigin::Plain : ViewOrigin::NoGrad);
    return t;
  }

 private:
  struct Step {
    enum Kind : uint8_t { Select, Slice, Unsqueeze } kind;
    int dim;
    int64_t a, b, c;
  };
  TensorRef recorded() const {
    static const OpRef select("select"), slice("slice"), unsqueeze("unsqueeze"), alias("alias");
    if (steps_.empty()) return alias({TensorRef(source_)});
    TensorRef t(source_);
    for (const Step& s : steps_) {
      int64_t dim = s.dim;
      if (s.kind == Step::Select)
        t = select({t, dim, s.a});
      else if (s.kind == Step::Slice)
        t = slice({t, dim, s.a, s.b, s.c});
      else
        t = unsqueeze({t, dim});
    }
    return t;
  }

  Tensor* source_;
  int64_t offset_;
  Dims sizes_, strides_;
  std::vector<Step> steps_;
};

// What stands between the brackets, applied to a tensor.
struct Indexed {
  ViewBuilder view;
  std::vector<TensorRef> indices;  // by item of the view's dimensions; empty where none is advanced
};

bool is_integral(const Tensor& t) { return is_integer(t.dtype) || is_bool(t.dtype); }
bool is_mask(const Tensor& t) { return t.dtype == DType::Bool || t.dtype == DType::U8; }

bool holds_more_than_numbers(PyObject* list) {
  Py_ssize_t n = PyList_GET_SIZE(list);
  if (n >= 32) return false;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* o = PyList_GET_ITEM(list, i);
    if (o == Py_None || o == Py_Ellipsis || PySlice_Check(o) || is_tensor(o) || PyList_Check(o) || PyTuple_Check(o))
      return true;
  }
  return false;
}

// An index as a list of items: (0, 1) has two, [0, 1] is one unless it holds slices, tensors or lists (NumPy's old
// rule).
PyRef items_of(PyObject* key) {
  if (PyTuple_Check(key)) return PyRef::borrow(key);
  if (PyList_Check(key) && holds_more_than_numbers(key)) return checked(PyList_AsTuple(key));
  return checked(PyTuple_Pack(1, key));
}

TensorRef index_tensor(const Tensor& like, PyObject* o) {
  if (is_tensor(o)) return TensorRef(tensor_of(o));
  TensorRef t = tensor_from_data(o, std::nullopt, like.device());
  if (t->numel() == 0 && is_float(t->dtype)) return Tensor::empty(t->sizes, DType::I64, like.device());
  return t;
}

// How many dimensions of the tensor an item uses up.
int consumed(PyObject* o) {
  if (o == Py_None || o == Py_Ellipsis || PyBool_Check(o)) return 0;
  if (is_tensor(o) && is_mask(*tensor_of(o))) return tensor_of(o)->dim();
  return 1;
}

int64_t slice_bound(PyObject* o) {
  PyRef index = PyRef::steal(PyNumber_Index(o));
  if (!index) raise(PyExc_TypeError, "slice indices must be integers or None or have an __index__ method");
  Py_ssize_t v = PyNumber_AsSsize_t(index.get(), nullptr);  // clips what is too large
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}

class Parser {
 public:
  Parser(Tensor* source, PyObject* key)
      : source_(source), key_(key), result_{ViewBuilder(source), {}}, items_(items_of(key)) {}

  Indexed parse() {
    Py_ssize_t n = PyTuple_GET_SIZE(items_.get());
    int specified = 0;
    for (Py_ssize_t i = 0; i < n; ++i) specified += consumed(item(i));
    if (source_->dim() == 0) check_alone();
    FL_CHECK(specified <= source_->dim(), ErrorKind::Index, "too many indices for tensor of dimension %d",
             source_->dim());
    bool seen = false;
    for (Py_ssize_t i = 0; i < n; ++i) {
      position_ = static_cast<int>(i);
      if (item(i) == Py_Ellipsis) {
        if (!std::exchange(seen, true)) at_ += source_->dim() - specified;
      } else {
        apply(item(i));
      }
    }
    return std::move(result_);
  }

 private:
  // A single number or slice has sentences of its own where there is nothing to index.
  void check_alone() const {
    FL_CHECK(!PySlice_Check(key_), ErrorKind::Index, "slice() cannot be applied to a 0-dim tensor.");
    FL_CHECK(!PyLong_Check(key_) || PyBool_Check(key_), ErrorKind::Index,
             "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
             "0-dim tensor to a number");
  }

  PyObject* item(Py_ssize_t i) const { return PyTuple_GET_ITEM(items_.get(), i); }

  void apply(PyObject* o) {
    if (PyBool_Check(o)) return truth(o == Py_True);
    if (PyLong_Check(o)) return integer(o);
    if (PySlice_Check(o)) return slice(o);
    if (o == Py_None) return result_.view.unsqueeze(at_++);
    if (is_tensor(o)) return tensor(TensorRef(tensor_of(o)));
    bool sequence = PySequence_Check(o) && !PyDict_Check(o);
    if (PyIndex_Check(o) && !sequence) return integer(o);
    if (!sequence)
      raise(PyExc_IndexError,
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got %s)",
            Py_TYPE(o)->tp_name);
    tensor(index_tensor(*source_, o));
  }

  void integer(PyObject* o) {
    int64_t i = PyNumber_AsSsize_t(o, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) throw PythonError{};
    result_.view.select(at_, i, position_);
  }

  void slice(PyObject* o) {
    auto* s = reinterpret_cast<PySliceObject*>(o);
    int64_t size = result_.view.size(at_);
    int64_t step = s->step == Py_None ? 1 : slice_bound(s->step);
    FL_CHECK(step != 0, ErrorKind::Value, "slice step cannot be zero");
    FL_CHECK(step > 0, ErrorKind::Value, "step must be greater than zero");
    auto clip = [size](int64_t v) { return std::clamp<int64_t>(v < 0 ? v + size : v, 0, size); };
    int64_t start = s->start == Py_None ? 0 : clip(slice_bound(s->start));
    int64_t stop = s->stop == Py_None ? size : clip(slice_bound(s->stop));
    result_.view.slice(at_, start, std::max(start, stop), step);
    ++at_;
  }

  void truth(bool value) {
    int64_t n = value ? 1 : 0;
    TensorRef index = Tensor::empty(IntSpan(&n, 1), DType::I64);
    if (value) *index->data<int64_t>() = 0;
    result_.view.unsqueeze(at_);
    record(std::move(index), 1);
  }

  void tensor(TensorRef t) {
    FL_CHECK(is_integral(*t), ErrorKind::Index, "tensors used as indices must be long, int, byte or bool tensors");
    if (t->dim() == 0 && !t->is_meta()) {
      int64_t v = item_value(*t).as_int();
      if (is_mask(*t))
        truth(v != 0);
      else
        result_.view.select(at_, v, position_);
      return;
    }
    check_mask(*t);
    int dims = is_mask(*t) ? t->dim() : 1;
    record(std::move(t), dims);
  }

  void check_mask(const Tensor& t) const {
    if (!is_mask(t)) return;
    for (int i = 0; i < t.dim(); ++i)
      FL_CHECK(t.sizes[i] == result_.view.size(at_ + i), ErrorKind::Index,
               "The shape of the mask %s at index %d does not match the shape of the indexed tensor %s at index %d",
               shape_text(t.sizes).c_str(), i, shape_text(source_->sizes).c_str(), at_ + i);
  }

  // A mask is one entry of the list although it uses up several dimensions.
  void record(TensorRef index, int dims) {
    size_t entry = static_cast<size_t>(at_ - extra_);
    if (result_.indices.size() <= entry) result_.indices.resize(entry + 1);
    result_.indices[entry] = std::move(index);
    at_ += dims;
    extra_ += dims - 1;
  }

  Tensor* source_;
  PyObject* key_;
  Indexed result_;
  PyRef items_;
  int position_ = 0;  // of the item among all
  int at_ = 0;        // the dimension of the view that the next item is about
  int extra_ = 0;     // dimensions that masks use up beyond one
};

// Before anything else: subclasses and modes see __getitem__ and __setitem__.
bool asks_handlers(const char* name, PyObject* const* args, Py_ssize_t n, PyRef& result) {
  if (!must_intercept(args, static_cast<size_t>(n))) return false;
  PyRef function = checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(tensor_type), name));
  bool handled;
  result = intercept(function.get(), args, n, nullptr, handled);
  return handled;
}

TensorRef read(Tensor* t, Indexed& where) {
  static const OpRef index("index");
  TensorRef view = where.indices.empty() || !where.view.empty() ? where.view.finish() : TensorRef(t);
  if (where.indices.empty()) return view;
  return index({view, Value(std::move(where.indices))});
}

// The number or tensor that is assigned.
Value assigned_value(Tensor* t, PyObject* value) {
  Value v;
  if (is_tensor(value)) return Value(TensorRef(tensor_of(value)));
  if (number_from_python(value, v)) return v;
  raise(PyExc_TypeError, "can't assign a %s to a torch.%sTensor", Py_TYPE(value)->tp_name, dtype_title(t->dtype));
}

// The value without leading dimensions of size 1 that the target has not.
TensorRef fitted(TensorRef value, int dims) {
  Dims sizes = value->sizes, strides = value->strides;
  while (sizes.size() > dims && sizes[0] == 1) {
    sizes.erase(0);
    strides.erase(0);
  }
  if (sizes.size() == value->dim()) return value;
  static const OpRef view("view");
  return view({value, std::vector<int64_t>(sizes.begin(), sizes.end())});
}

bool needs_tape(const Tensor* t, const Value& value) {
  if (t->inference || GradMode::inference) return true;
  if (!GradMode::enabled) return false;
  return requires_grad(t) || (value.is_tensor() && requires_grad(value.tensor()));
}

void check_expands(const Tensor& value, const Tensor& target) {
  for (int i = 1; i <= value.dim(); ++i) {
    bool fits = i <= target.dim() &&
                (value.sizes[value.dim() - i] == target.sizes[target.dim() - i] || value.sizes[value.dim() - i] == 1);
    if (fits) continue;
    std::string want = shape_text(target.sizes), got = shape_text(value.sizes);
    FL_CHECK(value.dim() <= target.dim(), ErrorKind::Runtime,
             "expand(torch.%sTensor{%s}, size=%s): the number of sizes provided (%d) must be greater or equal to the "
             "number of dimensions in the tensor (%d)",
             dtype_title(value.dtype), got.c_str(), want.c_str(), target.dim(), value.dim());
    fail(ErrorKind::Runtime,
         "The expanded size of the tensor (%lld) must match the existing size (%lld) at non-singleton dimension %d.  "
         "Target sizes: %s.  Tensor sizes: %s",
         static_cast<long long>(target.sizes[target.dim() - i]), static_cast<long long>(value.sizes[value.dim() - i]),
         target.dim() - i, want.c_str(), got.c_str());
  }
}

void write_view(Tensor* t, Indexed& where, const Value& value) {
  static const OpRef copy("copy_"), fill("fill_");
  check_writable(*t);
  bool tape = needs_tape(t, value);
  bool whole = where.view.empty();
  if (!value.is_tensor()) check_number_assigns(value, t->dtype);
  TensorRef target = whole ? TensorRef(t) : tape ? where.view.finish() : where.view.bare();
  if (!value.is_tensor()) {
    if (tape)
      fill({target, value});
    else
      fill_with(target.get(), value);
  } else {
    TensorRef from = fitted(value.tensor_ref(), target->dim());
    check_expands(*from, *target);
    if (tape)
      copy({target, from});
    else {
      check_no_internal_overlap(*target);
      copy_into(target.get(), from.get());
    }
  }
  if (!tape) t->bump_version();
}

// x[mask] = number, the mask being the only index: the mask for masked_fill_, or null.
TensorRef filled_mask(const Tensor& target, const std::vector<TensorRef>& indices, const Tensor& value) {
  if (value.dim() || value.dtype != target.dtype) return {};
  TensorRef mask;
  for (const TensorRef& t : indices) {
    if (t && (mask || t->dtype != DType::Bool || t->dim() == 0)) return {};
    if (t) mask = t;
  }
  if (!mask) return {};
  Dims sizes = mask->sizes, strides = mask->strides;
  for (int d = static_cast<int>(indices.size()) - 1 + mask->dim(); d < target.dim(); ++d) {
    sizes.push_back(1);
    strides.push_back(0);
  }
  return Tensor::make(mask->storage, mask->offset, sizes, strides, DType::Bool);
}

void write_indexed(Tensor* t, Indexed& where, Value value) {
  static const OpRef put("index_put_"), fill("masked_fill_");
  TensorRef target = where.view.empty() ? TensorRef(t) : where.view.finish();
  if (!value.is_tensor()) {
    check_number_assigns(value, target->dtype);
    TensorRef number = Tensor::empty({}, target->dtype, target->device());
    fill_with(number.get(), value);
    value = Value(number);
  }
  value = Value(fitted(value.tensor_ref(), 0));  // it expands to what is indexed all the same
  if (TensorRef mask = filled_mask(*target, where.indices, *value.tensor()))
    return (void)fill({target, Value(mask), value});
  Outputs ignored;
  put.call({target, Value(std::move(where.indices)), value}, ignored);
}

}  // namespace

PyObject* get_item(PyObject* self, PyObject* key) {
  return guarded([&]() -> PyObject* {
    PyObject* args[] = {self, key};
    PyRef handled;
    if (asks_handlers("__getitem__", args, 2, handled)) return handled.release();
    Tensor* t = tensor_of(self);
    Indexed where = Parser(t, key).parse();
    return wrap(read(t, where));
  });
}

int set_item(PyObject* self, PyObject* key, PyObject* value) {
  return guarded(
      [&]() -> int {
        if (!value) raise(PyExc_TypeError, "Tensor does not support deleting items");
        PyObject* args[] = {self, key, value};
        PyRef handled;
        if (asks_handlers("__setitem__", args, 3, handled)) return 0;
        Tensor* t = tensor_of(self);
        Value v = assigned_value(t, value);
        Indexed where = Parser(t, key).parse();
        if (where.indices.empty())
          write_view(t, where, v);
        else
          write_indexed(t, where, std::move(v));
        return 0;
      },
      -1);
}

}  // namespace fl
