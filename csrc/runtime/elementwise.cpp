#include "runtime/elementwise.h"

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/positions.h"
#include "runtime/promotion.h"
#include "runtime/scalar_layout.h"
#include "runtime/shape_text.h"
#include "runtime/short_rows.h"
#include "runtime/stream.h"

namespace fl {

namespace {

StrideClass class_of(const Iteration& it, int operand, DType dtype) {
  int64_t stride = it.inner_stride(operand);
  if (it.elements == 1 || stride == static_cast<int64_t>(dtype_size(dtype))) return StrideClass::Contiguous;
  return stride == 0 ? StrideClass::Broadcast : StrideClass::Strided;
}

void classify(const Iteration& it, std::span<const DType> dtypes, StrideClass* classes) {
  for (int k = 0; k < it.operands; ++k) classes[k] = class_of(it, k, dtypes[static_cast<size_t>(k)]);
}

bool any_strided(const Iteration& it, const StrideClass* classes) {
  return std::count(classes, classes + it.operands, StrideClass::Strided) > 0;
}

constexpr int64_t kFewest = 8;  // with fewer rows or columns there is nothing to gain from squares

// Whether strided operands may be turned: inputs only, which all follow dimension d.
bool turns_along(const Iteration& it, int d, const ElementKernelCall& call, const StrideClass* classes) {
  if (it.size[d] < kFewest) return false;
  for (int k = 0; k < it.operands; ++k) {
    DType dtype = call.dtypes[static_cast<size_t>(k)];
    if (is_complex(dtype) || classes[k] == StrideClass::Reversed) return false;
    if (classes[k] != StrideClass::Strided) continue;
    if (k < call.overload.op->n_outputs || it.stride[d][k] != static_cast<int64_t>(dtype_size(dtype))) return false;
  }
  return true;
}

// Strided operands that are contiguous along another dimension: that one is brought next to the innermost.
bool turn(Iteration& it, const ElementKernelCall& call, StrideClass* classes) {
  if (it.dims < 2 || it.inner_size() < kFewest) return false;
  for (int d = it.dims - 2; d >= 0; --d) {
    if (!turns_along(it, d, call, classes)) continue;
    it.swap_dims(d, it.dims - 2);
    std::replace(classes, classes + it.operands, StrideClass::Strided, StrideClass::Turned);
    return true;
  }
  return false;
}

// Inputs that are read backwards.
void reverse(const Iteration& it, const ElementKernelCall& call, StrideClass* classes) {
  for (int k = call.overload.op->n_outputs; k < it.operands; ++k) {
    DType dtype = call.dtypes[static_cast<size_t>(k)];
    if (!is_complex(dtype) && it.inner_stride(k) == -static_cast<int64_t>(dtype_size(dtype)) && it.elements > 1)
      classes[k] = StrideClass::Reversed;
  }
}

bool rows_start_lines(const Iteration& it, int operand) {
  if (reinterpret_cast<uintptr_t>(it.data[operand]) % 64) return false;
  for (int d = 0; d < it.dims - 1; ++d)
    if (it.stride[d][operand] % 64) return false;
  return true;
}

// Of an operand's elements, each counted once.
int64_t bytes_of(const Iteration& it, int operand, DType dtype) {
  auto bytes = static_cast<int64_t>(dtype_size(dtype));
  for (int d = 0; d < it.dims; ++d) bytes *= it.stride[d][operand] ? it.size[d] : 1;
  return bytes;
}

// Large outputs, unless they are inputs as well; pieces of a row start at multiples of 64 elements. Beside operands
// that are turned there is no room in the caches: their lines wait there for the squares, and rows of one output may
// start anywhere.
void stream_large_outputs(const ElementKernelCall& call, const Iteration& it, StrideClass* classes) {
  if (it.elements < kStreamBytes / 16 || it.inner_size() < 64) return;
  const bool turned = std::count(classes, classes + it.operands, StrideClass::Turned) > 0;
  const bool anywhere = turned && call.overload.op->n_outputs == 1;
  int64_t total = turned ? kStreamTotal : 0;
  for (int k = 0; k < it.operands; ++k) total += bytes_of(it, k, call.dtypes[static_cast<size_t>(k)]);
  for (int k = 0; k < call.overload.op->n_outputs; ++k) {
    int64_t bytes = bytes_of(it, k, call.dtypes[static_cast<size_t>(k)]);
    bool own = std::count(it.data, it.data + it.operands, it.data[k]) == 1;
    if (classes[k] == StrideClass::Contiguous && streams(bytes, total - bytes) && own &&
        (anywhere || rows_start_lines(it, k)))
      classes[k] = StrideClass::Streamed;
  }
}

}  // namespace

ElementKernel kernel_for(const ElementKernelCall& call, std::span<const StrideClass> classes) {
  KernelKey key{.op = op_key(call.overload.op->id, call.attributes, call.fold)};
  for (size_t k = 0; k < classes.size(); ++k) key.set_operand(static_cast<int>(k), call.dtypes[k], classes[k]);
  void* kernel = find_kernel(key);
  if (!kernel) [[unlikely]] {
    std::string attributes = full_attributes(call.overload, call.attributes, call.fold);
    kernel = resolve_kernel(key, {call.overload, std::move(attributes), call.dtypes, classes});
  }
  return reinterpret_cast<ElementKernel>(kernel);
}

void run_elements(const ElementKernelCall& call, Iteration& it) {
  if (it.elements == 0) return;
  it.collapse();
  if (auto rows = join_rows(it, call.overload.op->n_outputs, call.dtypes)) {
    run_elements(call, rows->joined);
    return run_elements(call, rows->rest);
  }
  StrideClass classes[kMaxOperands];
  classify(it, call.dtypes, classes);
  reverse(it, call, classes);
  bool turned = any_strided(it, classes) && turn(it, call, classes);
  if (!turned && any_strided(it, classes) && it.elements < kParallelElements)  // all: few kernels serve all layouts
    std::fill_n(classes, it.operands, StrideClass::Strided);
  stream_large_outputs(call, it, classes);
  ElementKernel kernel = kernel_for(call, {classes, static_cast<size_t>(it.operands)});
  int64_t stride[2 * kMaxOperands];
  for (int k = 0; k < it.operands; ++k) {
    stride[k] =
        it.elements == 1 ? static_cast<int64_t>(dtype_size(call.dtypes[static_cast<size_t>(k)])) : it.inner_stride(k);
    stride[it.operands + k] = it.row_stride(k);
  }
  constexpr int64_t kUnit = Pieces::kRowUnit;  // whole squares
  int64_t least_rows = turned ? std::clamp(it.size[it.dims - 2] / (16 * kUnit) * kUnit, kUnit, 4 * kUnit) : 1;
  run_pieces(
      it, [&](char** ptr, int64_t n, int64_t m) { kernel(ptr, stride, n, m, call.params); }, least_rows,
      call.overload.op->work);
}

namespace {

// What a Python number is stored as beside operands of dtype d: halves compute in float32, and so do numbers.
DType number_storage(DType d) { return is_float(d) && d < DType::F32 ? DType::F32 : d; }

bool only_bools_alone(const Op& op) { return op.alone == 1u << static_cast<int>(DType::Bool); }

// Whether the sentence for dtypes that an operator does not take is that of a kernel that is missing.
bool names_kernel(const Op& op) { return op.dtype_error.empty() || op.dtype_error[0] == '"'; }

bool gives_floats(const Op& op) { return op.result == ResultRule::Float || op.result == ResultRule::RealFloat; }

class ScalarCall {
 public:
  explicit ScalarCall(const Call& call) : call_(call), op_(call.op()), layout_(scalar_layout(*call.overload)) {}

  void run(Outputs& outputs) {
    find_compute_dtype();
    find_sizes();
    check_kernel();
    check_divisors();
    make_results();
    if (!device_is_meta_ && results_[0]->numel() > 0) compute();
    for (int i = 0; i < n_results_; ++i) {
      if (finals_[i]) {
        copy_into(finals_[i].get(), results_[i].get());
        outputs.emplace_back(finals_[i]);
      } else {
        outputs.emplace_back(std::move(results_[i]));
      }
    }
  }

 private:
  const Param& param(int at) const { return call_.overload->params[static_cast<size_t>(at)]; }

  void find_compute_dtype() {
    Promotion promotion;
    for (int at : layout_.operands) {
      const Value& v = call_[at];
      if (param(at).role == 'm') check_mask(v);
      if (v.is_none() || param(at).role == 'k' || param(at).role == 'm') continue;
      if (!v.is_tensor())
        promotion.add(v);
      else
        promotion.add(*v.tensor(), param(at).role == 'z' ? to_real(v.tensor()->dtype) : v.tensor()->dtype);
    }
    for (int at : layout_.numbers)
      if (param(at).type == ParamType::Scalar && param(at).role == 'c' && !call_[at].is_none())
        promotion.add(call_[at]);
    if (op_.result == ResultRule::Input) check_fill();
    compute_ = promotion.result();
    if (gives_floats(op_) && !is_differentiable(compute_)) compute_ = default_dtype();
    if (!names_kernel(op_)) check_dtype(op_, compute_);
    if (op_.alone) check_alone();
    if (op_.numbers_fit) check_numbers_fit();
    for (int at : layout_.numbers)
      if (param(at).role == 'a')
        check_factor(param(at), call_[at]);
      else if (param(at).role == 'f' && !call_[at].is_none())
        check_number_assigns(call_[at], number_storage(compute_));
  }

  // What PyTorch says when it looks for a kernel: after sizes, and after what the result is written to.
  void check_kernel() const {
    if (!names_kernel(op_) || op_.dtypes >> static_cast<int>(compute_) & 1) [[likely]]
      return;
    if (const Tensor* given = written_tensor(0); given && layout_.written >= 0)
      check_can_cast(result_dtype(0), given->dtype);
    check_dtype(op_, compute_);
  }

  void check_mask(const Value& v) const {
    DType d = v.is_tensor() ? v.tensor()->dtype : number_dtype(v);
    if (is_bool(d)) return;
    fail(ErrorKind::Runtime, "%s", fill_in(op_.mask_error, d).c_str());
  }

  // Tensors of some dtypes beside others. One element where a number may stand is cast, unless it is a bool. Where only
  // bools are alone, True and False are so too.
  void check_alone() const {
    for (int at : layout_.operands) {
      if (only_bools_alone(op_) && call_[at].tag() == Value::Tag::Bool && !is_bool(compute_)) fail_mixed();
      if (!call_[at].is_tensor()) continue;
      const Tensor& t = *call_[at].tensor();
      const bool cast = t.wrapped_number || (param(at).number && t.dim() == 0 && !is_bool(t.dtype));
      if (t.dtype != compute_ && op_.alone >> static_cast<int>(t.dtype) & 1 && !cast) fail_mixed();
    }
  }

  [[noreturn]] void fail_mixed() const {
    auto dtype_of = [&](int at) { return call_[at].is_tensor() ? call_[at].tensor()->dtype : number_dtype(call_[at]); };
    const int first = layout_.operands[0];
    int other = first;
    for (int at : layout_.operands)
      if (other == first && dtype_of(at) != dtype_of(first)) other = at;
    std::string text = op_.mixed_error;
    for (const auto& [mark, name] :
         {std::pair("{want}", dtype_c_name(dtype_of(first))), std::pair("{operand}", param(other).name.c_str())})
      if (size_t at = text.find(mark); at != std::string::npos) text.replace(at, std::strlen(mark), name);
    fail(ErrorKind::Runtime, "%s", fill_in(std::move(text), dtype_of(other)).c_str());
  }

  void check_numbers_fit() const {
    for (int at : layout_.operands)
      if (call_[at].is_number()) check_number_fits(call_[at], compute_);
  }

  // The number that is filled into tensors of the dtype of operand 0.
  void check_fill() const {
    const Value& self = call_[layout_.operands[0]];
    for (int at : layout_.operands) {
      if (!param(at).number || !self.is_tensor()) continue;
      const Value& v = call_[at];
      if (v.is_number()) check_number_casts(v, self.tensor()->dtype);
      if (v.is_tensor() && is_complex(v.tensor()->dtype))
        check_number_casts(Value(std::complex<double>(0, 1)), self.tensor()->dtype);
      FL_CHECK(!v.is_tensor() || v.tensor()->dim() == 0, ErrorKind::Runtime,
               "%s_ only supports a 0-dimensional value tensor, but got tensor with %d dimension(s).", op_.name.c_str(),
               v.tensor()->dim());
    }
  }

  void check_factor(const Param& p, const Value& v) const {
    using Tag = Value::Tag;
    const char* name = p.name.c_str();
    FL_CHECK(v.tag() != Tag::Bool || is_bool(compute_), ErrorKind::Runtime,
             "Boolean %s only supported for Boolean results.", name);
    FL_CHECK(v.tag() != Tag::Float || is_differentiable(compute_), ErrorKind::Runtime,
             "For integral input tensors, argument %s must not be a floating point number.", name);
    FL_CHECK(v.tag() != Tag::Complex || is_complex(compute_), ErrorKind::Runtime,
             "For non-complex input tensors, argument %s must not be a complex number.", name);
  }

  void find_sizes() {
    bool first = true;
    for (int at : layout_.operands) {
      if (!call_[at].is_tensor()) continue;
      Tensor* t = call_[at].tensor();
      tensors_[n_tensors_++] = t;
      if (t->dim() > 0 || first || t->is_meta()) check_device(*t);
      if (first) {
        sizes_ = t->sizes;
        first = false;
      } else if (!(t->sizes == sizes_)) {
        sizes_ = broadcast_sizes(sizes_, t->sizes);
      }
    }
    if (first) fail_without_tensor();
  }

  [[noreturn]] void fail_without_tensor() const {
    std::string got;
    for (int at : layout_.operands) {
      using Tag = Value::Tag;
      Tag tag = call_[at].tag();
      got += got.empty() ? "" : ", ";
      got += tag == Tag::Bool ? "bool" : tag == Tag::Int ? "int" : tag == Tag::Float ? "float" : "complex";
    }
    fail(ErrorKind::Type,
         "%s() received an invalid combination of arguments - got (%s), but expected one of:\n"
         " * (Tensor, Tensor)\n * (Number, Tensor)\n * (Tensor, Number)\n",
         op_.name.c_str(), got.c_str());
  }

  void check_device(const Tensor& t) {
    // One element on the CPU goes with tensors anywhere.
    if (!device_known_ || (device_of_scalar_ && (t.dim() > 0 || t.is_meta()))) {
      device_ = t.device();
      device_known_ = true;
      device_of_scalar_ = t.dim() == 0 && !t.is_meta();
      device_is_meta_ = t.is_meta();
      return;
    }
    static constexpr const char* kNames[] = {"cpu", "cuda", "meta"};
    FL_CHECK(t.device().type == device_.type, ErrorKind::Runtime,
             "Tensor on device %s is not on the expected device %s!", kNames[static_cast<int>(t.device().type)],
             kNames[static_cast<int>(device_.type)]);
  }

  // Division of floats gives infinities and nan, that of integers has nothing to give.
  void check_divisors() const {
    if (is_differentiable(compute_) || device_is_meta_ || std::ranges::count(sizes_, 0)) return;
    for (int at : layout_.operands) {
      if (param(at).role != 'd') continue;
      const Value& v = call_[at];
      bool zero = v.is_tensor() ? holds_zero(*v.tensor()) : v.as_int() == 0;
      FL_CHECK(!zero, ErrorKind::Runtime, "ZeroDivisionError: %s holds a 0, and the operands are integers.",
               param(at).name.c_str());
    }
  }

  DType result_dtype(int i) const {
    ResultRule rule = op_.results.empty() ? op_.result : op_.results[static_cast<size_t>(i)];
    switch (rule) {
      case ResultRule::Bool: return DType::Bool;
      case ResultRule::Int64: return DType::I64;
      case ResultRule::Int32: return DType::I32;
      case ResultRule::Real:
      case ResultRule::RealFloat: return to_real(compute_);
      case ResultRule::Number: return is_bool(compute_) ? DType::I64 : compute_;
      case ResultRule::Complex: return to_complex(compute_);
      case ResultRule::Input: return tensors_[0]->dtype;
      case ResultRule::Explicit: {
        if (layout_.dtypes < 0 || call_[layout_.dtypes].is_none()) return compute_;
        int64_t d = call_[layout_.dtypes].ints().at(static_cast<size_t>(i));
        return d < 0 ? compute_ : static_cast<DType>(d);
      }
      default: return compute_;
    }
  }

  void make_results() {
    n_results_ = op_.n_outputs;
    FL_CHECK(n_results_ + n_tensors_ <= kMaxOperands, ErrorKind::Runtime, "%s has too many operands", op_.name.c_str());
    Dims strides;
    for (int i = 0; i < n_results_; ++i) {
      DType d = result_dtype(i);
      Tensor* given = written_tensor(i);
      if (given && use_given(given, d, i)) continue;
      if (n_results_ == 1 && takes_result(call_, sizes_, d, device_, true)) {
        results_[i] = TensorRef(call_.out);
        continue;
      }
      if (strides.empty()) strides = result_strides(sizes_, {tensors_, static_cast<size_t>(n_tensors_)});
      results_[i] = Tensor::empty_strided(sizes_, strides, d, device_);
    }
  }

  // The tensor that result i is to be written to, or null.
  Tensor* written_tensor(int i) const {
    if (layout_.written >= 0 && i == 0) return call_[layout_.operands[static_cast<size_t>(layout_.written)]].tensor();
    if (i >= static_cast<int>(layout_.outs.size())) return nullptr;
    const Value& out = call_[layout_.outs[static_cast<size_t>(i)]];
    return out.is_tensor() ? out.tensor() : nullptr;
  }

  // False: the result is computed aside and then copied to `given`.
  bool use_given(Tensor* given, DType d, int i) {
    check_can_cast(d, given->dtype);
    if (layout_.written >= 0) {
      FL_CHECK(given->sizes == sizes_, ErrorKind::Runtime, "output with shape %s doesn't match the broadcast shape %s",
               shape_text(given->sizes).c_str(), shape_text(sizes_).c_str());
    } else if (!(given->sizes == sizes_)) {
      for (int k = 0; k < n_tensors_; ++k)  // resizing would change an operand
        FL_CHECK(tensors_[k] != given, ErrorKind::Runtime, "output with shape %s doesn't match the broadcast shape %s",
                 shape_text(given->sizes).c_str(), shape_text(sizes_).c_str());
      resize_output(given, sizes_);
    }
    check_writable(*given);
    check_no_internal_overlap(*given);
    for (int k = 0; k < n_tensors_; ++k) check_no_partial_overlap(*given, *tensors_[k]);
    if (given->dtype != d) {
      finals_[i] = TensorRef(given);
      return false;
    }
    results_[i] = TensorRef(given);
    return true;
  }

  DType operand_dtype(int at, const Value& v) const {
    switch (param(at).role) {
      case 'k':
      case 'm': return v.is_tensor() ? v.tensor()->dtype : number_dtype(v);
      case 'r': return to_real(compute_);
      case 'z': return to_complex(compute_);
      default: return compute_;
    }
  }

  void compute() {
    Iteration it(sizes_);
    DType dtypes[kMaxOperands];
    for (int i = 0; i < n_results_; ++i) {
      dtypes[it.operands] = results_[i]->dtype;
      it.add(*results_[i]);
    }
    for (int at : layout_.operands) {
      const Value& v = call_[at];
      if (v.is_none()) continue;
      DType wanted = operand_dtype(at, v);
      if (!v.is_tensor()) wanted = number_storage(wanted);
      if (is_cast_inside(v, param(at).role)) {
        dtypes[it.operands] = v.tensor()->dtype;
        it.add(*v.tensor());
        continue;
      }
      dtypes[it.operands] = wanted;
      add_operand(it, v, wanted);
    }
    Slot params[kMaxFolds];
    uint32_t fold = fold_of(layout_, call_);
    make_params(params, fold);
    ElementKernelCall kernel{.overload = *call_.overload->op->overloads[0],
                             .dtypes = {dtypes, static_cast<size_t>(it.operands)},
                             .attributes = attributes_of(layout_, call_),
                             .fold = fold,
                             .params = params};
    run_elements(kernel, it);
  }

  // Many elements beside wider ones are taken as they are, for which there is another kernel: a cast to memory would
  // cost more than the work. That kernel computes in the widest of its operands' dtypes: one must be the right one.
  bool is_cast_inside(const Value& v, char role) const {
    if (!v.is_tensor() || role != 'c' || (compute_ != DType::F32 && compute_ != DType::F64)) return false;
    const Tensor& t = *v.tensor();
    if (t.numel() < kParallelElements || t.dtype == compute_ || is_complex(t.dtype) || is_float8(t.dtype)) return false;
    return std::ranges::any_of(layout_.operands, [&](int at) { return shows_compute(call_[at], param(at).role); });
  }

  bool shows_compute(const Value& v, char role) const {
    if (role != 'c' || v.is_none()) return false;
    if (!v.is_tensor() || v.tensor()->numel() < kParallelElements) return true;  // these are cast
    DType d = v.tensor()->dtype;
    return d == compute_ || (compute_ == DType::F32 && (d == DType::BF16 || d == DType::F16));
  }

  void add_operand(Iteration& it, const Value& v, DType wanted) {
    if (v.is_tensor()) {
      Tensor* t = v.tensor();
      if (t->dtype == wanted) return it.add(*t);
      if (t->numel() > 1) {
        casts_[n_casts_++] = cast_to(t, wanted);
        return it.add(*casts_[n_casts_ - 1]);
      }
    }
    void* element = numbers_[n_numbers_++];
    write_number(v.is_tensor() ? read_number(v.tensor()->data(), v.tensor()->dtype) : v, wanted, element);
    it.add_number(element);
  }

  // Those that are folded into the kernel have no slot.
  void make_params(Slot* params, uint32_t fold) const {
    FL_CHECK(layout_.numbers.size() <= static_cast<size_t>(kMaxFolds), ErrorKind::Runtime, "%s has too many parameters",
             op_.name.c_str());
    for (int at : layout_.numbers) {
      if (is_folded(layout_, fold, at)) continue;
      Slot& s = *params++;
      const Value& v = call_[at];
      ParamType type = param(at).type;
      if (v.is_none()) {
        s.i = 0;
      } else if (type == ParamType::Int || type == ParamType::Bool ||
                 (type == ParamType::Scalar && !is_differentiable(compute_))) {
        write_number(v, DType::I64, &s.i);
      } else {
        s.c[0] = v.as_complex().real();
        s.c[1] = v.as_complex().imag();
      }
    }
  }

  const Call& call_;
  Op& op_;
  const ScalarLayout& layout_;
  DType compute_ = DType::F32;
  Dims sizes_;
  Device device_;
  bool device_known_ = false, device_of_scalar_ = false, device_is_meta_ = false;
  int n_tensors_ = 0, n_results_ = 0, n_casts_ = 0, n_numbers_ = 0;
  Tensor* tensors_[kMaxOperands];
  TensorRef results_[kMaxOperands], finals_[kMaxOperands], casts_[kMaxOperands];
  alignas(16) char numbers_[kMaxOperands][16];
};

}  // namespace

void elementwise_forward(const Call& call, Outputs& outputs) { ScalarCall(call).run(outputs); }

namespace {

HotKernels* hot_kernels(Op& op) {
  HotKernels* hot = op.hot.load(std::memory_order_acquire);
  if (hot) [[likely]]
    return hot;
  auto* made = new HotKernels;
  if (op.hot.compare_exchange_strong(hot, made, std::memory_order_acq_rel)) return made;
  delete made;
  return hot;
}

// The operator can be called with operands alone, everything else folded in or static and at its default, and nothing
// is to be looked for in them.
bool is_plain(const Op& op, size_t operands, DType d) {
  const Overload& o = *op.overloads[0];
  const ScalarLayout& layout = scalar_layout(o);
  if (op.kind != BodyKind::Scalar || layout.operands.size() != operands || op.n_outputs != 1 || layout.dtypes >= 0)
    return false;
  for (int at : layout.operands) {
    const Param& p = o.params[static_cast<size_t>(at)];
    if (!(p.role == 'c' || (p.role == 'd' && is_differentiable(d))) || p.optional) return false;
  }
  for (int at : layout.numbers)
    if (!o.params[static_cast<size_t>(at)].fold || !o.params[static_cast<size_t>(at)].has_default) return false;
  for (int at : layout.statics)
    if (!o.params[static_cast<size_t>(at)].has_default) return false;
  return true;
}

bool plain_result(const Op& op, DType d, DType& result) {
  switch (op.result) {
    case ResultRule::Promote:
    case ResultRule::Input: result = d; return true;
    case ResultRule::Float: result = d; return is_differentiable(d);
    case ResultRule::Bool: result = DType::Bool; return true;
    case ResultRule::Real: result = to_real(d); return true;
    case ResultRule::RealFloat: result = to_real(d); return is_differentiable(d);
    case ResultRule::Number: result = is_bool(d) ? DType::I64 : d; return true;
    default: return false;
  }
}

// Null where the pattern does not fit the operator or the dtype; the boxed way then says what is wrong.
ElementKernel make_hot(Op& op, HotPattern pattern, DType d, HotKernels::Slot& slot) {
  size_t operands = pattern == HotPattern::Unary ? 1 : 2;
  if (!is_plain(op, operands, d) || !(op.dtypes >> static_cast<int>(d) & 1) || !plain_result(op, d, slot.result)) {
    slot.refused.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  const Overload& o = *op.overloads[0];
  std::vector<Value> defaults;
  for (const Param& p : o.params) defaults.push_back(p.has_default ? p.default_value : Value(int64_t{0}));
  Call call{&o, defaults.data()};
  DType dtypes[] = {slot.result, d, d};
  StrideClass classes[] = {StrideClass::Contiguous, StrideClass::Contiguous, StrideClass::Contiguous};
  if (pattern == HotPattern::WithNumber || pattern == HotPattern::NumberFirst) {
    size_t number = pattern == HotPattern::WithNumber ? 2 : 1;
    dtypes[number] = number_storage(d);
    classes[number] = StrideClass::Broadcast;
  }
  const ScalarLayout& layout = scalar_layout(o);
  ElementKernelCall kernel{.overload = o,
                           .dtypes = {dtypes, operands + 1},
                           .attributes = attributes_of(layout, call),
                           .fold = fold_of(layout, call)};
  ElementKernel found = kernel_for(kernel, {classes, operands + 1});
  slot.kernel.store(found, std::memory_order_release);
  return found;
}

ElementKernel hot_kernel(Op& op, HotPattern pattern, DType d, DType& result) {
  HotKernels::Slot& slot = hot_kernels(op)->slots[static_cast<int>(pattern)][static_cast<int>(d)];
  ElementKernel kernel = slot.kernel.load(std::memory_order_acquire);
  if (!kernel) [[unlikely]] {
    if (slot.refused.load(std::memory_order_relaxed)) return nullptr;
    kernel = make_hot(op, pattern, d, slot);
  }
  result = slot.result;
  return kernel;
}

bool is_plain_operand(const Tensor& t) {
  return t.is_contiguous() && !t.wrapped_number && !t.is_meta() && t.numel() < kStreamBytes / 16;
}

// Contiguous operands: one dimension.
void run_flat(ElementKernel kernel, char** ptr, const int64_t* stride, int operands, int64_t n, int64_t work) {
  if (n * work < kParallelElements) {
    if (n > 0) kernel(ptr, stride, n, 1, nullptr);
    return;
  }
  Iteration it(IntSpan(&n, 1));
  for (int k = 0; k < operands; ++k) {
    it.stride[0][k] = stride[k];
    it.data[k] = ptr[k];
  }
  it.operands = operands;
  run_pieces(it, [&](char** at, int64_t length, int64_t rows) { kernel(at, stride, length, rows, nullptr); }, 1, work);
}

// Whether a number leaves the dtype as it is.
bool number_keeps(const Value& number, DType d) {
  switch (number.tag()) {
    case Value::Tag::Bool: return true;
    case Value::Tag::Int: return !is_bool(d);
    case Value::Tag::Float: return is_differentiable(d);
    default: return is_complex(d);
  }
}

}  // namespace

TensorRef elementwise1(Op& op, Tensor* a) {
  if (!is_plain_operand(*a)) return nullptr;
  DType result;
  ElementKernel kernel = hot_kernel(op, HotPattern::Unary, a->dtype, result);
  if (!kernel) return nullptr;
  TensorRef out = Tensor::empty(a->sizes, result, a->device());
  char* ptr[] = {out->data(), a->data()};
  int64_t stride[4] = {static_cast<int64_t>(dtype_size(result)), static_cast<int64_t>(a->itemsize()), 0, 0};
  run_flat(kernel, ptr, stride, 2, a->numel(), op.work);
  return out;
}

TensorRef elementwise2(Op& op, Tensor* a, Tensor* b) {
  if (a->dtype != b->dtype || !(a->sizes == b->sizes) || !is_plain_operand(*a) || !is_plain_operand(*b)) return nullptr;
  DType result;
  ElementKernel kernel = hot_kernel(op, HotPattern::Binary, a->dtype, result);
  if (!kernel) return nullptr;
  TensorRef out = Tensor::empty(a->sizes, result, a->device());
  char* ptr[] = {out->data(), a->data(), b->data()};
  auto item = static_cast<int64_t>(a->itemsize());
  int64_t stride[6] = {static_cast<int64_t>(dtype_size(result)), item, item, 0, 0, 0};
  run_flat(kernel, ptr, stride, 3, a->numel(), op.work);
  return out;
}

TensorRef elementwise2(Op& op, Tensor* a, const Value& number, bool number_first) {
  if (!is_plain_operand(*a) || !number_keeps(number, a->dtype)) return nullptr;
  if (number.tag() == Value::Tag::Bool && only_bools_alone(op)) return nullptr;
  if (op.numbers_fit) check_number_fits(number, a->dtype);
  DType result;
  HotPattern pattern = number_first ? HotPattern::NumberFirst : HotPattern::WithNumber;
  ElementKernel kernel = hot_kernel(op, pattern, a->dtype, result);
  if (!kernel) return nullptr;
  TensorRef out = Tensor::empty(a->sizes, result, a->device());
  alignas(16) char element[16];
  write_number(number, number_storage(a->dtype), element);
  auto item = static_cast<int64_t>(a->itemsize());
  char* ptr[] = {out->data(), number_first ? element : a->data(), number_first ? a->data() : element};
  int64_t stride[6] = {static_cast<int64_t>(dtype_size(result)), number_first ? 0 : item, number_first ? item : 0};
  run_flat(kernel, ptr, stride, 3, a->numel(), op.work);
  return out;
}

}  // namespace fl
