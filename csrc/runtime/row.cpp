#include "runtime/row.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "runtime/call_key.h"
#include "runtime/copy.h"
#include "runtime/promotion.h"
#include "runtime/row_again.h"
#include "runtime/row_step.h"

namespace fl {

const RowInfo* (*row_info)(const Overload&) = nullptr;
RowPlan* (*row_planner)(const Call&, const std::vector<DType>&, const std::vector<DType>&) = nullptr;
void* (*row_kernel)(RowPlan&, int, const std::string&) = nullptr;

namespace {

// One call: operands, shapes and the plan's steps.
class RowCall {
 public:
  explicit RowCall(const Call& call) : call_(call), info_(*row_info(*call.overload)) {}

  void run(Outputs& outputs) {
    const std::string* key = row_key(call_, info_);
    if (RowAgainPtr again = key ? find_again(*key) : nullptr) {
      make_params();
      return again->run(call_, outputs, params_.data());
    }
    again_ = key ? std::make_shared<RowAgain>() : nullptr;
    const std::string known = key ? *key : "";  // kernels may be made by calls of other operators
    lay_out_and_run(outputs);
    if (again_) keep_again(known, finished_again());
  }

 private:
  void lay_out_and_run(Outputs& outputs) {
    collect();
    find_row();
    for (size_t i = 0; i < operands_.size(); ++i)
      if (operands_[i]) check_sizes(operands_[i], info_.in_roles[i]);
    make_outputs();
    for (TensorRef& t : results_) outputs.emplace_back(t);
    if (operands_[0]->is_meta()) return;
    plan_ = row_planner(call_, operand_dtypes_, result_dtypes_);
    make_params();
    for (const RowTemp& t : plan_->temps) temps_.push_back(Tensor::empty(role_sizes(t.role, false), t.dtype));
    for (int i = 0; i < static_cast<int>(plan_->steps.size());) i += run_steps(i);
  }

  const char* name() const { return call_.op().name.c_str(); }

  void collect() {
    for (size_t i = 0; i < info_.operands.size(); ++i) {
      Tensor* t = call_[info_.operands[i]].is_tensor() ? call_[info_.operands[i]].tensor() : nullptr;
      operands_.push_back(t);
      operand_dtypes_.push_back(t ? t->dtype : DType::Bool);
      if (t && info_.in_roles[i] == 'F' && !full_) full_ = t;
    }
    FL_CHECK(full_, ErrorKind::Type, "%s() needs a tensor", name());
    for (size_t i = 0; i < operands_.size(); ++i)
      FL_CHECK(!operands_[i] || operands_[i]->device().type == full_->device().type, ErrorKind::Runtime,
               "Expected all tensors to be on the same device, but got different devices in %s()", name());
    compute_ = info_.dtype >= 0 && !call_[info_.dtype].is_none() ? call_[info_.dtype].dtype() : full_->dtype;
    if (call_.op().result == ResultRule::Float && !is_differentiable(compute_)) compute_ = default_dtype();
    check_dtype(call_.op(), compute_);
  }

  // Which dimensions are the row's.
  void find_row() {
    sizes_ = full_->sizes;
    if (info_.out_roles.find('F') == std::string::npos) broadcast_operands();
    int n = sizes_.size();
    in_row_.assign(static_cast<size_t>(n), false);
    switch (info_.rule) {
      case RowInfo::Rule::All: in_row_.assign(static_cast<size_t>(n), true); break;
      case RowInfo::Rule::Except:
        for (int d = 0; d < n; ++d) in_row_[static_cast<size_t>(d)] = d != info_.axis;
        break;
      case RowInfo::Rule::Last: {
        auto count = static_cast<int>(call_[info_.param].ints().size());
        for (int d = n - count; d < n; ++d) in_row_[static_cast<size_t>(d)] = true;
        break;
      }
      case RowInfo::Rule::Class: in_row_[n > 1 ? 1 : 0] = true; break;
      case RowInfo::Rule::Param: mark_param(call_[info_.param]); break;
    }
    if (!info_.empty_error.empty()) check_not_empty();
  }

  // Where no result varies over everything, each operand may be one element wide along what another one varies over.
  void broadcast_operands() {
    for (size_t i = 0; i < operands_.size(); ++i) {
      if (!operands_[i] || info_.in_roles[i] != 'F' || operands_[i]->dim() != sizes_.size()) continue;
      for (int d = 0; d < sizes_.size(); ++d)
        if (sizes_[d] == 1) sizes_[d] = operands_[i]->sizes[d];
    }
  }

  void check_not_empty() const {
    bool all = info_.rule == RowInfo::Rule::All;
    if (info_.rule == RowInfo::Rule::Param) {
      const Value& dims = call_[info_.param];
      all = dims.is_none() || (dims.tag() == Value::Tag::Ints && dims.ints().empty());
    }
    for (int d = 0; d < sizes_.size(); ++d) {
      if (!in_row_[static_cast<size_t>(d)] || sizes_[d] != 0) continue;
      bool position = call_.op().name.starts_with("arg");
      if (all) fail(position ? ErrorKind::Index : ErrorKind::Runtime, info_.empty_error.c_str(), name());
      fail(ErrorKind::Index, "%s(): Expected reduction dim %d to have non-zero size.", call_.overload->name.c_str(), d);
    }
  }

  void mark_param(const Value& dims) {
    int n = sizes_.size();
    auto mark = [&](int64_t dim) {
      int d = wrap_dim(dim, n);
      if (n == 0) return;
      FL_CHECK(!in_row_[static_cast<size_t>(d)], ErrorKind::Runtime,
               "dim %d appears multiple times in the list of dims", d);
      in_row_[static_cast<size_t>(d)] = true;
    };
    if (dims.tag() == Value::Tag::Int) return mark(dims.as_int());
    if (dims.is_none() || (dims.ints().empty() && info_.empty_is_all)) {
      in_row_.assign(static_cast<size_t>(n), true);
      return;
    }
    for (int64_t d : dims.ints()) mark(d);
  }

  // The sizes of an operand of this role.
  Dims role_sizes(char role, bool keepdim) const {
    Dims out;
    for (int d = 0; d < sizes_.size(); ++d) {
      bool row = in_row_[static_cast<size_t>(d)];
      if (role == 'P' && d + 1 == sizes_.size())
        out.push_back(1);
      else if (role == 'F' || role == 'P' || (role == 'R') == row)
        role == 'S' ? void() : out.push_back(sizes_[d]);
      else if (keepdim && role != 'R')
        out.push_back(1);
    }
    return out;
  }

  DType result_dtype(char code) const {
    switch (code) {
      case 'i': return DType::I64;
      case 'b': return compute_ == DType::U8 ? DType::U8 : DType::Bool;
      case 'r': return to_real(compute_);
      case 'm': return compute_ == DType::BF16 || compute_ == DType::F16 ? DType::F32 : compute_;
      case 's':
        return !is_differentiable(compute_) && info_.dtype >= 0 && call_[info_.dtype].is_none() ? DType::I64 : compute_;
      case 'c': return compute_;
      default: return operand_dtypes_[static_cast<size_t>(code - '0')];
    }
  }

  void make_outputs() {
    bool keepdim = info_.keepdim >= 0 && call_[info_.keepdim].as_bool();
    for (size_t i = 0; i < info_.out_roles.size(); ++i) {
      DType dtype = result_dtype(info_.out_dtypes[i]);
      Dims sizes = role_sizes(info_.out_roles[i], keepdim);
      result_dtypes_.push_back(dtype);
      Tensor* like = full_;
      results_.push_back(info_.out_roles[i] == 'F'
                             ? Tensor::empty_strided(sizes, result_strides(sizes, {&like, 1}), dtype, full_->device())
                             : Tensor::empty(sizes, dtype, full_->device()));
    }
  }

  // Run-time parameters in the order of the schema: numbers that are not static.
  void make_params() {
    for (size_t i = 0; i < call_.overload->params.size(); ++i) {
      const Param& p = call_.overload->params[i];
      if (!is_run_time_number(p) || static_cast<int>(i) == info_.param) continue;
      Slot s{};
      const Value& v = call_[static_cast<int>(i)];
      if (p.type == ParamType::Int)
        s.i = v.is_none() ? 0 : v.as_int();
      else
        s.c[0] = v.is_none() ? 0 : v.as_complex().real(), s.c[1] = v.is_none() ? 0 : v.as_complex().imag();
      params_.push_back(s);
    }
  }

  // Strides over the whole iteration, in bytes; sizes of 1 in B and R operands broadcast.
  RowOperand place(Tensor* t, char role) const {
    RowOperand o{t->data(), role, t->dtype, {}};
    auto item = static_cast<int64_t>(t->itemsize());
    bool whole = role == 'F' || t->dim() == sizes_.size();
    int at = 0;
    for (int d = 0; d < sizes_.size(); ++d) {
      bool varies = role == 'F' || role == 'P' || (role != 'S' && (role == 'R') == in_row_[static_cast<size_t>(d)]);
      int dim = whole ? d : at;
      o.strides.push_back(varies && t->sizes[dim] != 1 ? t->strides[dim] * item : 0);
      if (varies) ++at;
    }
    return o;
  }

  // An operand of role B or R must fit its group of dimensions (with or without the others kept as 1), one of role F
  // broadcasts.
  void check_sizes(Tensor* t, char role) const {
    bool fits = role == 'S' || t->sizes == role_sizes(role, false) || t->sizes == role_sizes(role, true);
    if (!fits && role == 'F' && t->dim() == sizes_.size()) {
      fits = true;
      for (int d = 0; d < sizes_.size(); ++d) fits = fits && (t->sizes[d] == 1 || t->sizes[d] == sizes_[d]);
    }
    FL_CHECK(fits, ErrorKind::Runtime, "%s(): an operand of %d dimensions does not fit the input of %d", name(),
             t->dim(), sizes_.size());
  }

  struct Part {  // an operand of a step: the tensor, its role in the call and its role as the step sees it
    TensorRef tensor;
    char role, step_role;
    bool output;
  };

  std::vector<Part> parts_of(const RowStep& step) const {
    auto exchange = [&](char role) { return !step.over_batch ? role : role == 'B' ? 'R' : role == 'R' ? 'B' : role; };
    auto pick = [&](int k, const auto& tensors) {
      return k >= 0 ? TensorRef(&*tensors[static_cast<size_t>(k)]) : temps_[static_cast<size_t>(~k)];
    };
    std::vector<Part> parts;
    for (size_t i = 0; i < step.outputs.size(); ++i)
      parts.push_back({pick(step.outputs[i], results_), exchange(step.out_roles[i]), step.out_roles[i], true});
    for (size_t i = 0; i < step.inputs.size(); ++i)
      parts.push_back({pick(step.inputs[i], operands_), exchange(step.roles[i]), step.roles[i], false});
    return parts;
  }

  std::vector<RowOperand> place_all(const std::vector<Part>& parts) const {
    std::vector<RowOperand> placed;
    for (const Part& p : parts) {
      placed.push_back(place(p.tensor.get(), p.role));
      placed.back().role = p.step_role;
    }
    return placed;
  }

  StepRun step_run(int index, const std::vector<Part>& parts, bool ordered) const {
    const RowStep& step = plan_->steps[static_cast<size_t>(index)];
    std::vector<RowOperand> placed = place_all(parts);
    RowLayout layout = lay_out(placed, sizes_, in_row_of(step), ordered);
    return {*plan_, index, std::move(placed), std::move(layout), params_.data()};
  }

  std::vector<bool> in_row_of(const RowStep& step) const {
    std::vector<bool> in_row = in_row_;
    if (step.over_batch) in_row.flip();
    return in_row;
  }

  StepRun plain_run(int index) const {
    const RowStep& step = plan_->steps[static_cast<size_t>(index)];
    return step_run(index, parts_of(step), step.ordered);
  }

  // Runs a step, and the next one as well where they go together; the number of steps run.
  int run_steps(int index) {
    StepRun run = plain_run(index);
    if (!run.fits()) return run_dense(index), again_.reset(), 1;
    if (static_cast<size_t>(index) + 1 < plan_->steps.size()) {
      StepRun next = plain_run(index + 1);
      if (next.fits() && run.run_with(next)) return again_.reset(), 2;
    }
    run.run();
    if (again_) remember(run, plan_->steps[static_cast<size_t>(index)]);
    return 1;
  }

  void remember(const StepRun& run, const RowStep& step) {
    RowAgain::Step& s = again_->steps.emplace_back();
    bool fits = results_.size() + temps_.size() + operands_.size() <= kMaxRowTensors;
    if (fits && !run.remember(s)) {
      fits = plan_->steps.size() == 1;  // whether steps go together depends on where operands lie
      s.longer = fits ? run.kept() : nullptr;
    }
    if (!fits) return again_.reset();
    auto results = static_cast<int>(results_.size()), made = results + static_cast<int>(temps_.size());
    for (int k : step.outputs) s.tensors.push_back(k >= 0 ? k : results + ~k);
    for (int k : step.inputs) s.tensors.push_back(k >= 0 ? made + k : results + ~k);
  }

  RowAgainPtr finished_again() {
    for (const TensorRef& t : results_) again_->results.push_back({t->sizes, t->strides, t->dtype});
    for (const TensorRef& t : temps_) again_->temps.push_back({t->sizes, t->strides, t->dtype});
    again_->arguments = info_.operands;
    return std::move(again_);
  }

  // Rare: a row of three runs or more. Copies in which the row is one run stand in for the operands.
  void run_dense(int index) {
    const RowStep& step = plan_->steps[static_cast<size_t>(index)];
    std::vector<Part> parts = parts_of(step), dense = parts;
    for (Part& p : dense)
      if (p.role == 'F') p.tensor = dense_row(p, in_row_of(step));
    StepRun run = step_run(index, dense, true);
    FL_CHECK(run.fits(), ErrorKind::Runtime, "%s(): the rows of a weight are not dense", name());
    run.run();
    for (size_t i = 0; i < parts.size(); ++i)
      if (parts[i].output && parts[i].role == 'F') copy_into(parts[i].tensor.get(), dense[i].tensor.get());
  }

  TensorRef dense_row(const Part& part, const std::vector<bool>& in_row) const {
    Dims strides(sizes_.size());
    int64_t step = 1;
    for (bool row : {true, false})
      for (int d = sizes_.size(); d-- > 0;)
        if (in_row[static_cast<size_t>(d)] == row) {
          strides[d] = step;
          step *= sizes_[d];
        }
    TensorRef t = Tensor::empty_strided(sizes_, strides, part.tensor->dtype);
    if (!part.output) copy_into(t.get(), part.tensor.get());
    return t;
  }

  const Call& call_;
  const RowInfo& info_;
  RowPlan* plan_ = nullptr;
  Tensor* full_ = nullptr;
  DType compute_ = DType::F32;
  Dims sizes_;
  std::vector<bool> in_row_;
  std::vector<Tensor*> operands_;
  std::vector<DType> operand_dtypes_, result_dtypes_;
  std::vector<TensorRef> results_, temps_;
  std::vector<Slot> params_;
  std::shared_ptr<RowAgain> again_;  // what is being run, as long as it can be remembered
};

}  // namespace

void row_forward(const Call& call, Outputs& outputs) { RowCall(call).run(outputs); }

}  // namespace fl
