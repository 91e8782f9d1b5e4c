// A recurrent layer over all steps, and its gradient: a product with the recurrent weights, and right behind it, while
// the product is in the nearest cache, the kernel of everything else.
//
// Rows of a step are sequences, longer ones first. Where sequences are many and the weights stay in a core's cache, a
// chunk takes some sequences through all steps; else a step is cut into blocks of hidden units.
#include <array>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/step_product.h"
#include "runtime/copy.h"
#include "runtime/elementwise.h"
#include "runtime/op.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

// Rows and multiply-adds of a step that a chunk should have, and the most chunks.
constexpr int64_t kChunkRows = 8, kStepWork = 1 << 17, kMostChunks = 12;
// Multiply-adds that take long enough to let other threads of Python run.
constexpr int64_t kLongWork = 1 << 19;

enum class Mode : uint8_t { Tanh, Relu, Lstm, Gru };

Mode mode_of(const std::string& name) {
  if (name == "LSTM") return Mode::Lstm;
  if (name == "GRU") return Mode::Gru;
  return name == "RNN_RELU" ? Mode::Relu : Mode::Tanh;
}

void check_matrix(const Tensor* t, int64_t rows, int64_t columns, const Tensor* like, const char* name) {
  FL_CHECK(t->sizes == Dims({rows, columns}) && t->dtype == like->dtype && !t->is_meta(), ErrorKind::Runtime,
           "recurrent_steps: %s must be a (%ld, %ld) tensor of the weights' dtype, got %s", name, rows, columns,
           shape_text(t->sizes).c_str());
}

int64_t gates_of(Mode mode) { return mode == Mode::Lstm ? 4 : mode == Mode::Gru ? 3 : 1; }

// The kernel of a step's operator, outputs first; every operand is contiguous along the units.
class StepKernel {
 public:
  StepKernel(const char* name, DType dtype, int operands) : element_(static_cast<int64_t>(dtype_size(dtype))) {
    std::array<DType, kMaxOperands> dtypes;
    std::array<StrideClass, kMaxOperands> classes;
    dtypes.fill(dtype);
    classes.fill(StrideClass::Contiguous);
    const auto n = static_cast<size_t>(operands);
    kernel_ = kernel_for({.overload = *find_op(name)->overloads[0], .dtypes = {dtypes.data(), n}}, {classes.data(), n});
  }

  struct Operand {
    char* data;
    int64_t row;  // bytes
  };
  void run(std::initializer_list<Operand> operands, int64_t rows, int64_t units) const {
    char* ptr[kMaxOperands];
    int64_t stride[2 * kMaxOperands];
    size_t k = 0;
    for (const Operand& x : operands) {
      ptr[k] = x.data;
      stride[k] = element_;
      stride[operands.size() + k++] = x.row;
    }
    if (rows > 0 && units > 0) kernel_(ptr, stride, units, rows, nullptr);
  }

 private:
  int64_t element_;
  ElementKernel kernel_;
};

// The steps of a call in the order in which they run.
struct Steps {
  std::vector<int64_t> rows, begin;  // of step t: its rows, and the rows of all steps before it
  std::vector<int64_t> order;

  Steps(const std::vector<int64_t>& sizes, bool backward) : rows(sizes), begin(sizes.size()), order(sizes.size()) {
    FL_CHECK(!rows.empty() && rows.back() >= 0 && std::ranges::is_sorted(rows, std::greater<>()), ErrorKind::Runtime,
             "batch_sizes must not be empty, and go down");
    std::exclusive_scan(rows.begin(), rows.end(), begin.begin(), int64_t{0});
    std::iota(order.begin(), order.end(), int64_t{0});
    if (backward) std::reverse(order.begin(), order.end());
  }
  size_t count() const { return order.size(); }
  int64_t most() const { return rows.front(); }
  int64_t total() const { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }
};

// What one chunk computes of a step.
struct Part {
  Range rows, panels, units;
};

// Calls step(i, part) for every i below `count`; what a step needs of the one before it is there.
template <class F>
void over_steps(const StepProduct& product, int64_t rows, size_t count, F&& step) {
  LongWork quiet(product.work(rows) * static_cast<int64_t>(count) >= kLongWork);
  auto part = [&](Range r, Range panels) { return Part{r, panels, product.columns(panels)}; };
  const Range all{0, product.panels()};
  if (product.stay_near() && rows >= 2 * kChunkRows) {
    const int64_t chunks = std::min(rows / kChunkRows, kMostChunks);
    return parallel_for(chunks, [&](int64_t c) {
      for (size_t i = 0; i < count; i++) step(i, part(even_part(rows, chunks, c), all));
    });
  }
  const int64_t chunks = std::clamp<int64_t>(product.work(rows) / kStepWork, 1, std::min(kMostChunks, all.end));
  for (size_t i = 0; i < count; i++) {
    parallel_for(chunks, [&](int64_t c) { step(i, part({0, rows}, even_part(all.end, chunks, c))); });
  }
}

// Tensors of a call: all contiguous, of one dtype, on the CPU.
struct Buffer {
  char* data;
  int64_t row, element;
  explicit Buffer(const TensorRef& t)
      : data(t ? t->data() : nullptr),
        row(t ? t->sizes[t->dim() - 1] * static_cast<int64_t>(t->itemsize()) : 0),
        element(t ? static_cast<int64_t>(t->itemsize()) : 0) {}
  char* at(int64_t r, int64_t column) const { return data + r * row + column * element; }
  StepKernel::Operand operand(int64_t r, int64_t column) const { return {at(r, column), row}; }
};

TensorRef empty_rows(int64_t rows, int64_t columns, const Tensor* like) {
  return Tensor::empty(Dims{rows, columns}, like->dtype, like->device());
}

void copy_rows(const StepKernel::Operand& from, const StepKernel::Operand& to, int64_t rows, int64_t bytes) {
  for (int64_t i = 0; i < rows; i++)
    std::memcpy(to.data + i * to.row, from.data + i * from.row, static_cast<size_t>(bytes));
}

// Gates come in as the inputs' share of the sums before activation, and are left activated.
struct Forward {
  Mode mode;
  const Steps& steps;
  const StepProduct& product;
  const StepKernel& kernel;
  int64_t width;
  Buffer gates, before, cells, hidden, out, last, last_cell;  // cells: before every step; hidden: a GRU's share of n

  void run(size_t i, const Part& part) const {
    const int64_t t = steps.order[i], element = gates.element, units = part.units.size(), u = part.units.begin;
    const Range rows{part.rows.begin, std::min(part.rows.end, steps.rows[static_cast<size_t>(t)])};
    if (rows.size() <= 0) return;
    const int64_t wide = gates_of(mode) * units * element;
    // An odd number of lines, so that neighbouring rows do not fall into the same sets of the cache.
    const int64_t sum_row = (ceil_div(wide, 64) | 1) * 64;
    Workspace work(static_cast<size_t>(rows.size() * sum_row));
    char* sums = work.take(static_cast<size_t>(rows.size() * sum_row));
    const int64_t first = steps.begin[static_cast<size_t>(t)];
    product.multiply(before.at(first + rows.begin, 0), before.row, rows.size(), part.panels, sums, sum_row);
    // Sequences that go on, and those that end here.
    const int64_t next = i + 1 < steps.count() ? steps.order[i + 1] : -1;
    const int64_t going_on = next < 0 ? 0 : std::min(steps.rows[static_cast<size_t>(next)], rows.end);
    auto finish = [&](Range r, const Buffer& state, const Buffer& cell, int64_t at) {
      if (r.size() <= 0) return;
      activate(r, first, u, units, {sums + (r.begin - rows.begin) * sum_row, sum_row}, cell.operand(at + r.begin, u));
      const auto h = mode < Mode::Lstm ? gates.operand(first + r.begin, u) : out.operand(first + r.begin, u);
      if (mode < Mode::Lstm) copy_rows(h, out.operand(first + r.begin, u), r.size(), units * element);
      copy_rows(h, state.operand(at + r.begin, u), r.size(), units * element);
    };
    if (next >= 0) finish({rows.begin, going_on}, before, cells, steps.begin[static_cast<size_t>(next)]);
    finish({std::max(rows.begin, going_on), rows.end}, last, last_cell, 0);
  }

  void activate(Range r, int64_t first, int64_t u, int64_t units, StepKernel::Operand sums,
                StepKernel::Operand cell_out) const {
    const int64_t row = first + r.begin;
    auto gate = [&](int64_t g) { return gates.operand(row, g * width + u); };
    auto sum = [&](int64_t g) { return StepKernel::Operand{sums.data + g * units * gates.element, sums.row}; };
    const auto g0 = gate(0), g1 = gate(1), g2 = gate(2), g3 = gate(3), h = out.operand(row, u);
    switch (mode) {
      case Mode::Lstm:
        return kernel.run(
            {g0, g1, g2, g3, cell_out, h, g0, g1, g2, g3, sum(0), sum(1), sum(2), sum(3), cells.operand(row, u)},
            r.size(), units);
      case Mode::Gru: {
        const auto share = hidden.operand(row, u);
        return kernel.run({g0, g1, g2, share, h, g0, g1, g2, sum(0), sum(1), sum(2), before.operand(row, u)}, r.size(),
                          units);
      }
      default: return kernel.run({g0, g0, sum(0)}, r.size(), units);
    }
  }
};

// The rows of every step that begin a sequence: states before them are the first ones.
void begin_sequences(const Steps& steps, const Tensor& start, const Buffer& before) {
  int64_t known = 0;
  for (int64_t t : steps.order) {
    const int64_t rows = steps.rows[static_cast<size_t>(t)];
    if (rows <= known) continue;
    std::memcpy(before.at(steps.begin[static_cast<size_t>(t)] + known, 0), start.data() + known * before.row,
                static_cast<size_t>((rows - known) * before.row));
    known = rows;
  }
}

// recurrent_steps(gates, w_hh, b_hh, h, c, mode, sizes, reverse) -> (out, h, c, states before, cells before or hidden)
void recurrent_steps(const Call& call, Outputs& outputs) {
  Tensor *gates = call[0].tensor(), *w = call[1].tensor();
  const Mode mode = mode_of(call[5].str());
  const Steps steps(call[6].ints(), call[7].as_bool());
  FL_CHECK(w->dim() == 2, ErrorKind::Runtime, "recurrent_steps: weights must be a matrix");
  const int64_t width = w->sizes[1], wide = gates_of(mode) * width, total = steps.total(), most = steps.most();
  check_matrix(w, wide, width, w, "w_hh");
  check_matrix(gates, total, wide, w, "gates");
  check_matrix(call[3].tensor(), most, width, w, "h");
  TensorRef h = contiguous_tensor(call[3].tensor()), c, bias, weight = contiguous_tensor(w);
  if (mode == Mode::Lstm) {
    FL_CHECK(call[4].is_tensor(), ErrorKind::Runtime, "recurrent_steps: an LSTM needs cells");
    check_matrix(call[4].tensor(), most, width, w, "c");
    c = contiguous_tensor(call[4].tensor());
  }
  if (call[2].is_tensor()) bias = contiguous_tensor(call[2].tensor());
  FL_CHECK(gates->is_contiguous() && (!bias || (bias->numel() == wide && bias->dtype == w->dtype)), ErrorKind::Runtime,
           "recurrent_steps: gates must be contiguous, and b_hh must have an element for each of their columns");
  TensorRef out = empty_rows(total, width, w), before = empty_rows(total, width, w), last = empty_rows(most, width, w);
  TensorRef cells, hidden, last_cell;
  if (mode == Mode::Lstm) cells = empty_rows(total, width, w), last_cell = empty_rows(most, width, w);
  if (mode == Mode::Gru) hidden = empty_rows(total, width, w);

  Gemm g;
  g.n = w->sizes[0], g.k = width, g.dtype = w->dtype;
  g.b = weight->data(), g.b_row = 1, g.b_col = width;
  g.bias = bias ? bias->data() : nullptr;
  const StepProduct product(g, gates_of(mode), most);
  static constexpr const char* kNames[] = {"rnn_tanh_step", "rnn_relu_step", "lstm_step", "gru_step"};
  static constexpr int kOperands[] = {3, 3, 15, 12};
  const StepKernel kernel(kNames[static_cast<int>(mode)], w->dtype, kOperands[static_cast<int>(mode)]);
  const Forward forward{
      mode,           steps,         product,        kernel,      width,        Buffer(call[0].tensor_ref()),
      Buffer(before), Buffer(cells), Buffer(hidden), Buffer(out), Buffer(last), Buffer(last_cell)};
  begin_sequences(steps, *h, forward.before);
  if (cells) begin_sequences(steps, *c, forward.cells);
  over_steps(product, most, steps.count(), [&](size_t i, const Part& part) { forward.run(i, part); });

  TensorRef nothing = empty_rows(0, 0, w);
  for (const TensorRef& t : {out, last, last_cell, before, cells ? cells : hidden})
    outputs.emplace_back(t ? t : nothing);
}

struct Backward {
  Mode mode;
  const Steps& steps;
  const StepProduct& product;
  const StepKernel& kernel;
  int64_t width;
  // Of all steps: gradient of the outputs, gates, states and cells before (or hidden), gradients of both shares of the
  // gates. Of every sequence: gradients of state and cell, and what goes past the gates of a GRU.
  Buffer grad, gates, before, extra, d_gates, d_sums, d_state, d_cell, past;

  // Step `count` only ends the last one.
  void run(size_t i, const Part& part) const {
    const int64_t u = part.units.begin;
    if (i > 0) {
      const auto t = static_cast<size_t>(steps.order[i - 1]);
      const Range rows{part.rows.begin, std::min(part.rows.end, steps.rows[t])};
      product.multiply(d_sums.at(steps.begin[t] + rows.begin, 0), d_sums.row, rows.size(), part.panels,
                       d_state.at(rows.begin, u), d_state.row);
    }
    if (i == steps.count()) return;
    const auto t = static_cast<size_t>(steps.order[i]);
    const Range rows{part.rows.begin, std::min(part.rows.end, steps.rows[t])};
    differentiate(rows, steps.begin[t] + rows.begin, u, part.units.size());
  }

  void differentiate(Range rows, int64_t row, int64_t u, int64_t units) const {
    auto gate = [&](int64_t g) { return gates.operand(row, g * width + u); };
    auto d = [&](int64_t g) { return d_gates.operand(row, g * width + u); };
    auto d_sum = [&](int64_t g) { return d_sums.operand(row, g * width + u); };
    const auto g = grad.operand(row, u), dh = d_state.operand(rows.begin, u), x = extra.operand(row, u);
    switch (mode) {
      case Mode::Lstm: {
        const auto dc = d_cell.operand(rows.begin, u);
        return kernel.run({d(0), d(1), d(2), d(3), dc, g, dh, dc, gate(0), gate(1), gate(2), gate(3), x}, rows.size(),
                          units);
      }
      case Mode::Gru: {
        const auto p = past.operand(rows.begin, u);
        return kernel.run({d(0), d(1), d(2), d_sum(0), d_sum(1), d_sum(2), p, g, dh, p, gate(0), gate(1), gate(2), x,
                           before.operand(row, u)},
                          rows.size(), units);
      }
      default: return kernel.run({d(0), g, dh, gate(0)}, rows.size(), units);
    }
  }
};

// recurrent_steps_grad(grad, grad_h, grad_c, gates, before, extra, w_hh, mode, sizes, reverse) -> (gradients of the
// inputs' share, of the states' share, of the first states, of the first cells)
void recurrent_steps_grad(const Call& call, Outputs& outputs) {
  const Mode mode = mode_of(call[7].str());
  const Steps steps(call[8].ints(), !call[9].as_bool());
  FL_CHECK(call[6].tensor()->dim() == 2, ErrorKind::Runtime, "recurrent_steps_grad: weights must be a matrix");
  TensorRef grad = contiguous_tensor(call[0].tensor()), weight = contiguous_tensor(call[6].tensor());
  TensorRef gates = call[3].tensor_ref(), before = call[4].tensor_ref(), extra = call[5].tensor_ref();
  const int64_t width = weight->sizes[1], wide = gates_of(mode) * width, total = steps.total(), most = steps.most();
  const Tensor* like = weight.get();
  check_matrix(like, wide, width, like, "w_hh");
  check_matrix(gates.get(), total, wide, like, "gates");
  check_matrix(grad.get(), total, width, like, "grad");
  check_matrix(before.get(), total, width, like, "before");
  check_matrix(call[1].tensor(), most, width, like, "grad_h");
  if (mode >= Mode::Lstm) check_matrix(extra.get(), total, width, like, "extra");
  if (mode == Mode::Lstm) check_matrix(call[2].tensor(), most, width, like, "grad_c");
  FL_CHECK(gates->is_contiguous() && before->is_contiguous() && extra->is_contiguous(), ErrorKind::Runtime,
           "recurrent_steps_grad: what the forward kept must be contiguous");
  TensorRef d_gates = empty_rows(total, wide, like);
  TensorRef d_sums = mode == Mode::Gru ? empty_rows(total, wide, like) : d_gates;
  TensorRef d_state = clone_tensor(call[1].tensor(), MemoryFormat::Contiguous), d_cell, past;
  if (mode == Mode::Lstm) d_cell = clone_tensor(call[2].tensor(), MemoryFormat::Contiguous);
  if (mode == Mode::Gru) {
    past = empty_rows(most, width, like);
    clear_bytes(past->data(), past->numel() * static_cast<int64_t>(past->itemsize()));
  }

  Gemm g;
  g.n = width, g.k = wide, g.dtype = like->dtype;
  g.b = weight->data(), g.b_row = width, g.b_col = 1;
  const StepProduct product(g, 1, most);
  static constexpr const char* kNames[] = {"rnn_tanh_step_grad", "rnn_relu_step_grad", "lstm_step_grad",
                                           "gru_step_grad"};
  static constexpr int kOperands[] = {4, 4, 13, 15};
  const StepKernel kernel(kNames[static_cast<int>(mode)], like->dtype, kOperands[static_cast<int>(mode)]);
  const Backward backward{mode,           steps,           product,        kernel,        width,
                          Buffer(grad),   Buffer(gates),   Buffer(before), Buffer(extra), Buffer(d_gates),
                          Buffer(d_sums), Buffer(d_state), Buffer(d_cell), Buffer(past)};
  over_steps(product, most, steps.count() + 1, [&](size_t i, const Part& part) { backward.run(i, part); });
  TensorRef nothing = empty_rows(0, 0, like);
  for (const TensorRef& t : {d_gates, d_sums, d_state, mode == Mode::Gru ? past : d_cell})
    outputs.emplace_back(t ? t : nothing);
}

RegisterNative natives[] = {{"recurrent_steps", recurrent_steps}, {"recurrent_steps_grad", recurrent_steps_grad}};

}  // namespace
}  // namespace fl
