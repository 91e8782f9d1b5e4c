#include "runtime/row.h"

#include <algorithm>
#include <array>
#include <deque>
#include <numeric>
#include <utility>

#include "core/allocator.h"
#include "core/error.h"
#include "runtime/call_key.h"
#include "runtime/copy.h"
#include "runtime/pool.h"
#include "runtime/promotion.h"
#include "runtime/row_again.h"
#include "runtime/row_layout.h"
#include "runtime/stream.h"

namespace fl {

const RowInfo* (*row_info)(const Overload&) = nullptr;
RowPlan* (*row_planner)(const Call&, const std::vector<DType>&, const std::vector<DType>&) = nullptr;
void* (*row_kernel)(RowPlan&, int, const std::string&) = nullptr;

namespace {

constexpr int64_t kColumnBlock = 64;      // columns that one task takes at least
constexpr int64_t kShortColumn = 128;     // a column shorter than this is not cut
constexpr int64_t kLongColumn = 2048;     // a block of columns up to this length stays in the cache
constexpr int64_t kMostOffsets = 256;     // of a step that is remembered
constexpr int64_t kChunksTogether = 8;    // of a step that runs along with the one before: enough for all threads
constexpr int64_t kNearBytes = 32768;     // of a row and what goes with it, that is read again without delay
constexpr int64_t kRunBytes = 512;        // of a run from which on there is time to ask for others
constexpr int64_t kNextRunBytes = 2048;   // the same where runs follow each other
constexpr int64_t kBandBytes = 256;       // of a row of a band of columns, in what is computed in
constexpr int64_t kFewBands = 4;          // of a task, each of which is read while the one before is written
constexpr int64_t kManyBands = 16;        // the same, where there are enough for all threads
constexpr int64_t kMostCopies = 1 << 23;  // bytes of the copies of a band
constexpr int64_t kLongRow = 256;         // a row has as many elements, if one is written while the next is read,
constexpr int64_t kRowsBytes = 1 << 19;   // and is of no more bytes with what is made of it
constexpr int64_t kRowsTogether = 64;     // of a task
constexpr int64_t kShortRow = 64;         // a row shorter than this is done before its results have arrived

// A step that is being run.
class StepRun {
 public:
  StepRun(RowPlan& plan, int index, std::vector<RowOperand> operands, RowLayout layout, const Slot* params)
      : plan_(plan),
        step_(plan.steps[static_cast<size_t>(index)]),
        index_(index),
        operands_(std::move(operands)),
        layout_(std::move(layout)),
        params_(params) {}

  // Kernels walk two dimensions of a row.
  bool fits() const { return layout_.row.size() <= 2; }

  void run() {
    if (layout_.n_batch == 0) return;
    band_ = band();
    if (band_ || !use_split()) return fused();
    chunks_ = cut_row(layout_, sums_runs());
    for (size_t level = 0; level < levels().size(); ++level) run_level(level);
    finish();
  }

  // After run(): what it launched, if that was one fused kernel in one thread.
  bool remember(RowAgain::Step& step) const {
    const int64_t most = (layout_.n_batch == 1 ? 4 : 2) * kGrain;  // one row is one task
    if (!fused_ || !parking_.empty() || layout_.n_batch * row_work() >= most) return false;
    int64_t inner = layout_.inner_batch(), outer = layout_.n_batch / inner;
    if (outer * static_cast<int64_t>(operands_.size()) > kMostOffsets) return false;
    step.kernel = fused_;
    step.strides = fused_strides_;
    std::ranges::copy(std::to_array<int64_t>({inner, layout_.row_size(0), layout_.row_size(1), 0, layout_.n_row, 0}),
                      step.shape);
    for (int64_t o = 0; o < outer; ++o)
      for (size_t k = 0; k < operands_.size(); ++k) step.offsets.push_back(layout_.outer_offset(o, k));
    return true;
  }

  // Both steps, the one that follows being a reduction over the rows of this one: what each of its chunks needs is
  // read by both while it is in the cache. False, and nothing is done, where they do not go together.
  bool run_with(StepRun& next) {
    if (!leads(next)) return false;
    next.chunks_ = cut_row(next.layout_, next.sums_runs());
    if (static_cast<int64_t>(next.chunks_.size()) < kChunksTogether) return next.chunks_.clear(), false;
    bool joined = joins(next);
    next.make_states(0);
    if (!joined) next.prepare_level(0);
    prepare_fused(joined ? next.states_ : Arrays{});
    run_tasks(static_cast<int64_t>(next.chunks_.size()), [&](int64_t t) {
      const RowChunk& c = next.chunks_[static_cast<size_t>(t)];
      fused_rows(0, c.inner0, c.inner0 + c.inners, joined ? next.cleared_states(t) : Arrays{});
      if (!joined) next.level_chunks(t, t + 1, 0);
    });
    next.close_level(0);
    next.finish();
    return true;
  }

 private:
  size_t n_outputs() const { return step_.outputs.size(); }

  bool sums_runs() const { return step_.out_roles.find('P') != std::string::npos; }

  // Of what is split.
  const std::vector<std::vector<DType>>& levels() const {
    return step_.chunk_levels.empty() ? step_.levels : step_.chunk_levels;
  }

  bool use_split() const {
    if (step_.levels.empty() || layout_.n_row * layout_.n_batch < 4 * kGrain) return false;
    if (layout_.columns) {
      bool writes = step_.out_roles.find_first_of("FR") != std::string::npos;
      bool many = writes && layout_.n_batch >= 16 * kColumnBlock;  // enough for all threads, which go over them again
      return layout_.n_row > (many ? kLongColumn : kShortColumn);
    }
    return layout_.n_batch < 16 && row_work() >= 2 * kGrain;
  }

  // The columns that go together where several passes read many long ones, copying them in the first
  // (codegen/bands.py); else 0.
  int64_t band() const {
    bool full = step_.out_roles.find('F') != std::string::npos;
    if (!layout_.columns || step_.levels.empty() || levels().size() + full < 2) return 0;
    if (step_.out_roles.find_first_of("RP") != std::string::npos || layout_.n_row <= kShortColumn) return 0;
    int64_t widest = 4, copies = 0, bytes = 0;
    for (size_t k = 0; k < operands_.size(); ++k) {
      if (operands_[k].role != 'F') continue;
      DType d = operands_[k].dtype;
      if (!is_differentiable(d) || is_complex(d) || operand_class(k) == 's') return 0;
      auto item = static_cast<int64_t>(dtype_size(d));
      widest = std::max(widest, item);
      if (k < n_outputs() || operand_class(k) != 'c') continue;
      bytes = std::max(bytes, layout_.n_row * layout_.n_batch * item);
      ++copies;
    }
    bool near = layout_.n_row * copies * kBandBytes <= kMostCopies;
    bool large = bytes >= (full ? 2 : 4) * kStreamBytes;     // what is only read may still be in a cache
    bool many = layout_.inner_batch() >= 16 * kColumnBlock;  // enough for all threads
    return copies && near && large && many ? kBandBytes / widest : 0;
  }

  // Whether every row of this step is one position in the rows of the next, which are read in chunks, once.
  bool leads(const StepRun& next) const {
    if (step_.over_batch == next.step_.over_batch || layout_.columns || use_split()) return false;
    if (!next.use_split() || next.step_.levels.size() != 1) return false;
    if (next.step_.out_roles.find_first_of("FR") != std::string::npos) return false;
    const RowLayout& rows = next.layout_;
    bool flat = layout_.batch.size() == 1 && rows.row.size() == 1 && rows.batch.size() == 1;
    return flat && layout_.n_batch == rows.n_row && same_order(next);
  }

  // One dimension each: they count the same way if an operand that both have lies the same way.
  bool same_order(const StepRun& next) const {
    for (size_t i = n_outputs(); i < operands_.size(); ++i)
      for (size_t k = next.n_outputs(); k < next.operands_.size(); ++k) {
        int64_t stride = layout_.batch_stride(i);
        if (stride && operands_[i].data == next.operands_[k].data && stride == next.layout_.row_stride(1, k))
          return true;
      }
    return false;
  }

  // Whether the kernel of this step, which leads, adds up the next one's sums: an element of a row has its sum, which
  // stays near beside what a row reads, and is not waited for by the next row.
  bool joins(const StepRun& next) const {
    if (!step_.joins || layout_.row.size() != 1 || layout_.n_row < kShortRow) return false;
    size_t bytes = 0;
    for (DType d : next.step_.levels[0]) bytes += dtype_size(d);
    bool same = false;
    for (size_t i = n_outputs(); i < operands_.size(); ++i) {
      if (operands_[i].role == 'F' || operands_[i].role == 'R') bytes += dtype_size(operands_[i].dtype);
      for (size_t k = next.n_outputs(); k < next.operands_.size(); ++k)
        same = same || (layout_.row_stride(1, i) && operands_[i].data == next.operands_[k].data &&
                        layout_.row_stride(1, i) == next.layout_.batch_stride(k));
    }
    return same && layout_.n_row * static_cast<int64_t>(bytes) <= kNearBytes;
  }

  char class_of(const RowOperand& o, int64_t stride) const {
    return stride == 0 ? 'b' : stride == static_cast<int64_t>(dtype_size(o.dtype)) ? 'c' : 's';
  }

  void* kernel(const std::string& mode, const std::vector<char>& classes) {
    std::string key = mode + (layout_.columns ? "|c|" : "|r|") + std::string(classes.begin(), classes.end());
    auto it = step_.kernels.find(key);
    if (it == step_.kernels.end()) it = step_.kernels.emplace(key, row_kernel(plan_, index_, key)).first;
    return it->second;
  }

  // Class of operand k along the vector axis.
  char operand_class(size_t k) const {
    const RowOperand& o = operands_[k];
    return class_of(o, layout_.columns ? layout_.batch_stride(k) : layout_.row_stride(1, k));
  }

  // Of an operand's elements, each counted once.
  int64_t bytes_of(size_t k) const {
    auto bytes = static_cast<int64_t>(dtype_size(operands_[k].dtype));
    for (const auto* axes : {&layout_.batch, &layout_.row})
      for (const RowAxis& a : *axes) bytes *= a.strides[k] ? a.size : 1;
    return bytes;
  }

  // Whether an output is larger than the caches, and its vectors start at multiples of 64 bytes.
  bool streams(size_t k) const {
    const RowOperand& o = operands_[k];
    auto item = static_cast<int64_t>(dtype_size(o.dtype));
    if (k >= n_outputs() || o.role != 'F' || is_complex(o.dtype) || operand_class(k) != 'c' ||
        reinterpret_cast<uintptr_t>(o.data) % 64)
      return false;
    int64_t written = layout_.n_batch * layout_.n_row * item, total = 0;
    for (size_t i = 0; i < operands_.size(); ++i) total += bytes_of(i);
    if (!fl::streams(written, total - written)) return false;
    auto aligned = [&](const std::vector<RowAxis>& axes, bool last) {
      return std::all_of(axes.begin(), axes.end() - (last && !axes.empty()),
                         [&](const RowAxis& a) { return a.strides[k] % 64 == 0; });
    };
    return aligned(layout_.batch, layout_.columns) && aligned(layout_.row, !layout_.columns);
  }

  int64_t row_work() const { return step_.picks && !layout_.columns ? 1 : std::max<int64_t>(1, layout_.n_row); }

  void fused() {
    prepare_fused();
    int64_t inner = layout_.inner_batch(), outer = layout_.n_batch / inner;
    int64_t per_task = std::max<int64_t>(1, kGrain / row_work());
    if (!layout_.columns) per_task = std::max(per_task, std::min<int64_t>(inner / 16, 8));
    if (staggered_) per_task = std::max(per_task, std::min(inner / 16, kRowsTogether));
    if (layout_.columns) per_task = (per_task + kColumnBlock - 1) / kColumnBlock * kColumnBlock;
    // Columns do not meet, so that how many go together may depend on the threads.
    if (band_) per_task = std::clamp(layout_.n_batch / (band_ * 4 * thread_count()), kFewBands, kManyBands) * band_;
    int64_t pieces = (inner + per_task - 1) / per_task;
    run_tasks(outer * pieces, [&](int64_t t) {
      int64_t begin = t % pieces * per_task;
      fused_rows(t / pieces, begin, std::min(inner, begin + per_task));
    });
  }

  // Whether values that wait between two passes over rows do so in a wider dtype than that of the results.
  bool is_narrow_and_many() const {
    DType d = operands_[0].dtype;
    bool narrow = step_.out_roles[0] == 'F' && (d == DType::BF16 || d == DType::F16);
    return narrow && !layout_.columns && layout_.n_batch * layout_.n_row >= 2 * kGrain;
  }

  using Arrays = std::vector<std::pair<char*, DType>>;

  // `sums`: of the next step, one for each element of a row.
  void prepare_fused(const Arrays& sums = {}) {
    std::vector<char> classes;
    for (size_t k = 0; k < operands_.size(); ++k) {
      for (size_t s = 0; k == n_outputs() && s < sums.size(); ++s) {
        classes.push_back('c');
        fused_strides_.insert(fused_strides_.end(), {0, 0, static_cast<int64_t>(dtype_size(sums[s].second))});
      }
      classes.push_back((band_ || !layout_.columns) && streams(k) ? 'n' : operand_class(k));
      fused_strides_.insert(fused_strides_.end(),
                            {layout_.batch_stride(k), layout_.row_stride(0, k), layout_.row_stride(1, k)});
    }
    staggered_ = sums.empty() && staggers(classes[0]);
    if (band_) {
      add_copies(classes);
    } else if (!step_.levels.empty() && (classes[0] == 'n' || is_narrow_and_many())) {
      auto item = std::max<int64_t>(4, static_cast<int64_t>(dtype_size(operands_[0].dtype)));
      classes.push_back('c');
      fused_strides_.insert(fused_strides_.end(), {0, layout_.row_size(1) * item, item});
      parking_.push_back(layout_.n_row * item);
    }
    const char* mode = band_ ? "banded" : !sums.empty() ? "joined" : in_runs() ? "runs" : "fused";
    if (staggered_) mode = "staggered";
    fused_ = reinterpret_cast<RowKernel>(kernel(mode, classes));
  }

  // Whether a row goes past the caches while the next is read (codegen/staggered.py): one operand, and rows stay near.
  bool staggers(char first) const {
    bool whole = step_.out_roles.find_first_of("RP") == std::string::npos;
    if (first != 'n' || layout_.columns || layout_.row.size() != 1 || step_.levels.empty() || !whole) return false;
    int64_t bytes = 0, read = 0;
    for (size_t k = 0; k < operands_.size(); ++k) {
      if (operands_[k].role != 'F') continue;
      bytes += static_cast<int64_t>(dtype_size(operands_[k].dtype));
      read += k >= n_outputs() && operand_class(k) == 'c';
    }
    return read == 1 && layout_.n_row >= kLongRow && layout_.n_row * bytes <= kRowsBytes;
  }

  // Whether some of the runs that rows are made of, of more than the caches keep, are read together (codegen/runs.py).
  bool in_runs() const {
    if (layout_.columns || layout_.row.size() < 2) return false;
    int64_t length = layout_.row_size(1), bytes = 0, least = kNextRunBytes;
    for (size_t k = n_outputs(); k < operands_.size(); ++k) {
      if (operands_[k].role != 'F' || operand_class(k) != 'c') continue;
      bytes += static_cast<int64_t>(dtype_size(operands_[k].dtype));
      if (layout_.row_stride(0, k) != length * layout_.row_stride(1, k)) least = kRunBytes;
    }
    return length * bytes >= least && layout_.n_row * layout_.n_batch * bytes >= kStreamBytes / 2;
  }

  // What stands in for each operand whose columns are read again.
  void add_copies(std::vector<char>& classes) {
    for (size_t k = n_outputs(); k < operands_.size(); ++k) {
      if (operands_[k].role != 'F' || operand_class(k) != 'c') continue;
      classes.push_back('c');
      fused_strides_.insert(fused_strides_.end(), {0, 0, 0});
      parking_.push_back(layout_.n_row * kBandBytes);
    }
  }

  // Rows [b0, b1) of the innermost batch dimension at one outer batch index.
  void fused_rows(int64_t outer, int64_t b0, int64_t b1, const Arrays& sums = {}) const {
    std::vector<char*> ptr;
    for (size_t k = 0; k < operands_.size(); ++k) {
      if (k == n_outputs())
        for (auto& s : sums) ptr.push_back(s.first);
      ptr.push_back(operands_[k].data + layout_.outer_offset(outer, k) + b0 * layout_.batch_stride(k));
    }
    Scratch memory(static_cast<size_t>(std::accumulate(parking_.begin(), parking_.end(), int64_t{0})));
    char* at = memory.as<char>();
    for (int64_t bytes : parking_) ptr.push_back(std::exchange(at, at + bytes));
    int64_t after = layout_.inner_batch() - b1;
    int64_t shape[kRowShape] = {b1 - b0, layout_.row_size(0), layout_.row_size(1), 0, layout_.n_row, after};
    fused_(ptr.data(), fused_strides_.data(), shape, params_);
  }

  template <class F>
  void run_tasks(int64_t n, F&& task) {
    const bool much = layout_.n_batch * row_work() >= 2 * kGrain;
    LongWork work(much);
    if (much && n > 1) return parallel_for(n, task);
    for (int64_t t = 0; t < n; ++t) task(t);
  }

  // ---- split: chunks of the row

  // Calls fn for one chunk of the row at one outer batch index. `states` are arrays of [chunks, n_batch], statistics of
  // [n_batch]. A thread's lists keep their memory from chunk to chunk: chunks are short beside an allocation.
  // Several chunks that follow each other are the kernel's batch, where there is no other.
  void call_chunk(RowKernel fn, int64_t outer, const RowChunk& c, size_t first, size_t last, const Arrays& states = {},
                  int64_t chunk = 0, int64_t count = 1) {
    static thread_local std::vector<char*> ptr;
    static thread_local std::vector<int64_t> strides;
    ptr.clear();
    strides.clear();
    int64_t inner = layout_.inner_batch();
    auto push_array = [&](const std::pair<char*, DType>& a, int64_t at, bool varies) {
      auto item = static_cast<int64_t>(dtype_size(a.second));
      ptr.push_back(a.first + (at * layout_.n_batch + outer * inner) * item);
      strides.insert(strides.end(), {varies ? item : 0, 0, 0});
    };
    for (auto& s : states) push_array(s, chunk, true);
    for (size_t k = first; k < last; ++k) {
      int64_t r1 = layout_.row_stride(0, k), r0 = layout_.row_stride(1, k);
      ptr.push_back(operands_[k].data + layout_.outer_offset(outer, k) + c.outer0 * r1 + c.inner0 * r0);
      strides.insert(strides.end(), {count > 1 ? c.inners * r0 : layout_.batch_stride(k), r1, r0});
    }
    for (auto& s : stats_) push_array(s, 0, count == 1);
    int64_t start = c.outer0 * layout_.row_size(1) + c.inner0;
    int64_t shape[kRowShape] = {count > 1 ? count : inner, c.outers, c.inners, start, layout_.n_row, 0};
    fn(ptr.data(), strides.data(), shape, params_);
  }

  std::vector<char> classes_for(size_t first, size_t last, size_t before, size_t after) const {
    std::vector<char> classes(before, layout_.columns ? 'c' : 'b');
    for (size_t k = first; k < last; ++k) classes.push_back(operand_class(k));
    classes.insert(classes.end(), after, layout_.columns ? 'c' : 'b');
    return classes;
  }

  void run_level(size_t level) {
    make_states(level);
    prepare_level(level);
    int64_t outer = layout_.n_batch / layout_.inner_batch(), n = static_cast<int64_t>(chunks_.size());
    bool alone = layout_.n_batch > 1 || step_.ordered;
    int64_t together = alone ? 1 : std::clamp<int64_t>(n / 16, 1, 4);  // enough tasks for all threads
    run_tasks((n + together - 1) / together * outer, [&](int64_t t) {
      int64_t first = t / outer * together;
      level_chunks(first, std::min(n, first + together), t % outer);
    });
    close_level(level);
  }

  void prepare_level(size_t level) {
    level_ = reinterpret_cast<RowKernel>(kernel(
        "level" + std::to_string(level), classes_for(n_outputs(), operands_.size(), states_.size(), stats_.size())));
  }

  void make_states(size_t level) {
    auto all = static_cast<size_t>(layout_.n_batch) * chunks_.size();
    states_.clear();
    for (DType d : levels()[level]) states_.emplace_back(memory_.emplace_back(all * dtype_size(d)).as<char>(), d);
  }

  // The sums of one chunk, at zero.
  Arrays cleared_states(int64_t chunk) const {
    Arrays sums = states_;
    for (auto& [data, dtype] : sums) {
      size_t bytes = static_cast<size_t>(layout_.n_batch) * dtype_size(dtype);
      data += static_cast<size_t>(chunk) * bytes;
      std::memset(data, 0, bytes);
    }
    return sums;
  }

  void level_chunks(int64_t first, int64_t last, int64_t outer) {
    for (int64_t i = first, next; i < last; i = next) {
      const RowChunk& c = chunks_[static_cast<size_t>(i)];
      for (next = i + 1; next < last; ++next) {
        const RowChunk& d = chunks_[static_cast<size_t>(next)];
        if (c.outers > 1 || d.outer0 != c.outer0 || d.inners != c.inners) break;
      }
      call_chunk(level_, outer, c, n_outputs(), operands_.size(), states_, i, next - i);
    }
  }

  void close_level(size_t level) {
    combine(level, memory_.size() - states_.size());
    stats_.insert(stats_.end(), states_.begin(), states_.end());
  }

  char* state(size_t memory, DType d, int64_t chunk) {
    return memory_[memory].as<char>() + chunk * layout_.n_batch * static_cast<int64_t>(dtype_size(d));
  }

  // Neighbours first, then pairs of pairs: the same tree whichever thread made the parts.
  void combine(size_t level, size_t base) {
    const std::vector<DType>& dtypes = levels()[level];
    auto n = static_cast<int64_t>(chunks_.size());
    if (n == 1) return;
    auto fn = reinterpret_cast<ElementKernel>(kernel("combine" + std::to_string(level), {}));
    for (int64_t gap = 1; gap < n; gap *= 2) {
      int64_t pairs = (n - gap + 2 * gap - 1) / (2 * gap);
      std::vector<char*> ptr;
      std::vector<int64_t> inner, outer;
      for (int part = 0; part < 3; ++part) {
        for (size_t s = 0; s < dtypes.size(); ++s) {
          auto item = static_cast<int64_t>(dtype_size(dtypes[s]));
          ptr.push_back(state(base + s, dtypes[s], part == 2 ? gap : 0));
          inner.push_back(item);
          outer.push_back(2 * gap * layout_.n_batch * item);
        }
      }
      inner.insert(inner.end(), outer.begin(), outer.end());
      fn(ptr.data(), inner.data(), layout_.n_batch, pairs, params_);
    }
  }

  // Outputs from the statistics: those of role B once a row, those of role F once an element.
  void finish() {
    bool full = step_.out_roles.find_first_of("FP") != std::string::npos;
    if (full) {
      std::vector<char> classes = classes_for(0, operands_.size(), 0, stats_.size());
      for (size_t k = 0; k < n_outputs(); ++k)
        if (streams(k)) classes[k] = 'n';
      auto fn = reinterpret_cast<RowKernel>(kernel("write", classes));
      int64_t outer = layout_.n_batch / layout_.inner_batch();
      run_tasks(static_cast<int64_t>(chunks_.size()) * outer, [&](int64_t t) {
        call_chunk(fn, t % outer, chunks_[static_cast<size_t>(t / outer)], 0, operands_.size());
      });
    } else {
      auto fn = reinterpret_cast<RowKernel>(kernel("finish", classes_for(0, operands_.size(), 0, stats_.size())));
      int64_t outer = layout_.n_batch / layout_.inner_batch();
      for (int64_t o = 0; o < outer; ++o) call_chunk(fn, o, {0, 1, 0, 1}, 0, operands_.size());
    }
  }

  RowPlan& plan_;
  RowStep& step_;
  int index_;
  std::vector<RowOperand> operands_;
  RowLayout layout_;
  const Slot* params_;
  RowKernel fused_ = nullptr, level_ = nullptr;
  std::vector<int64_t> fused_strides_;
  bool staggered_ = false;        // a row is written while the next is read
  int64_t band_ = 0;              // columns that go together, copied by the first pass
  std::vector<int64_t> parking_;  // bytes of memory in which values wait for a later pass
  std::vector<RowChunk> chunks_;
  std::deque<Scratch> memory_;  // states of all chunks, one array a state
  Arrays states_, stats_;       // of the level that runs; of all before it
};

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
    if (dims.is_none() || dims.ints().empty()) {
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
      case 'b': return DType::Bool;
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
    bool fits = results_.size() + temps_.size() + operands_.size() <= kMaxRowTensors && run.remember(s);
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
