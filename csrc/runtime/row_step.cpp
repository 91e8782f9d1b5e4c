#include "runtime/row_step.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {

namespace {

constexpr int64_t kColumnBlock = 64;        // columns that one task takes at least
constexpr int64_t kShortColumn = 128;       // a column shorter than this is not cut
constexpr int64_t kLongColumn = 2048;       // a block of columns up to this length stays in the cache
constexpr int64_t kMostOffsets = 256;       // of a step that is remembered
constexpr int64_t kChunksTogether = 8;      // of a step that runs along with the one before: enough for all threads
constexpr int64_t kNearBytes = 1 << 19;     // of a row and what goes with it, that is near when it is read again,
constexpr int64_t kNearerBytes = 1 << 15;   // even in the first cache
constexpr int64_t kRunBytes = 512;          // of a run from which on there is time to ask for others
constexpr int64_t kNextRunBytes = 2048;     // the same where runs follow each other
constexpr int64_t kBandBytes = 256;         // of a row of a band of columns, in what is computed in
constexpr int64_t kFewBands = 4;            // of a task, each of which is read while the one before is written
constexpr int64_t kManyBands = 16;          // the same, where there are enough for all threads
constexpr int64_t kMostCopies = 1 << 23;    // bytes of the copies of a band
constexpr int64_t kLongRow = 256;           // a row has as many elements, if one is written while the next is read,
constexpr int64_t kRowsBytes = 1 << 19;     // and is of no more bytes with what is made of it,
constexpr int64_t kChannelBytes = 7 << 18;  // or these, if it is made of runs that lie apart,
constexpr int64_t kTwoRowsBytes = 3 << 16;  // nor, if two operands are read, of fewer than these
constexpr int64_t kAheadBytes = 3 << 13;    // of a row and its results, if several operands are asked for ahead
constexpr int64_t kJoinedBytes = 7 << 9;    // the same where rows are added up as well
constexpr int64_t kRowsTogether = 64;       // of a task
constexpr int64_t kShortRow = 64;           // a row shorter than this is done before its results have arrived

}  // namespace

template <class F>
void StepRun::run_tasks(int64_t n, F&& task) const {
  const bool much = layout_.n_batch * row_work() >= 2 * kGrain;
  LongWork work(much);
  if (much && n > 1) return parallel_for(n, task);
  for (int64_t t = 0; t < n; ++t) task(t);
}

void StepRun::run() {
  if (layout_.n_batch == 0) return;
  band_ = band();
  if (band_ || !use_split()) return fused();
  chunks_ = cut_row(layout_, sums_runs());
  for (size_t level = 0; level < levels().size(); ++level) run_level(level);
  finish();
}

bool StepRun::remember(RowAgain::Step& step) const {
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

std::shared_ptr<const StepRun> StepRun::kept() const {
  const std::vector<char*> nowhere(operands_.size());
  return std::make_shared<const StepRun>(*this, nowhere.data(), nullptr);
}

bool StepRun::run_with(StepRun& next) {
  if (!leads(next)) return false;
  next.chunks_ = cut_row(next.layout_, next.sums_runs());
  if (static_cast<int64_t>(next.chunks_.size()) < kChunksTogether) return next.chunks_.clear(), false;
  next.make_states(0);
  bool joined = joins(next);
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

const std::vector<std::vector<DType>>& StepRun::levels() const {
  return step_.chunk_levels.empty() ? step_.levels : step_.chunk_levels;
}

bool StepRun::use_split() const {
  if (step_.levels.empty() || layout_.n_row * layout_.n_batch < 4 * kGrain) return false;
  if (layout_.columns) {
    bool writes = step_.out_roles.find_first_of("FR") != std::string::npos;
    bool many = writes && layout_.n_batch >= 16 * kColumnBlock;  // enough for all threads, which go over them again
    return layout_.n_row > (many ? kLongColumn : kShortColumn);
  }
  return layout_.n_batch < 16 && row_work() >= 2 * kGrain;
}

int64_t StepRun::band() const {
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

bool StepRun::leads(const StepRun& next) const {
  if (step_.over_batch == next.step_.over_batch || layout_.columns || use_split()) return false;
  if (!next.use_split() || next.step_.levels.size() != 1) return false;
  if (next.step_.out_roles.find_first_of("FR") != std::string::npos) return false;
  const RowLayout& rows = next.layout_;
  bool flat = layout_.batch.size() == 1 && rows.row.size() == 1 && rows.batch.size() == 1;
  return flat && layout_.n_batch == rows.n_row && same_order(next);
}

bool StepRun::same_order(const StepRun& next) const {
  for (size_t i = n_outputs(); i < operands_.size(); ++i)
    for (size_t k = next.n_outputs(); k < next.operands_.size(); ++k) {
      int64_t stride = layout_.batch_stride(i);
      if (stride && operands_[i].data == next.operands_[k].data && stride == next.layout_.row_stride(1, k)) return true;
    }
  return false;
}

bool StepRun::joins(const StepRun& next) const {
  if (!step_.joins || layout_.row.size() != 1 || layout_.n_row < kShortRow) return false;
  bool same = false;
  for (size_t i = n_outputs(); i < operands_.size(); ++i) {
    for (size_t k = next.n_outputs(); k < next.operands_.size(); ++k)
      same = same || (layout_.row_stride(1, i) && operands_[i].data == next.operands_[k].data &&
                      layout_.row_stride(1, i) == next.layout_.batch_stride(k));
  }
  return same && near_bytes(next.states_) <= kNearBytes;
}

int64_t StepRun::near_bytes(const Arrays& sums) const {
  size_t bytes = 0;
  for (auto& s : sums) bytes += dtype_size(s.second);
  for (size_t i = n_outputs(); i < operands_.size(); ++i)
    if (operands_[i].role == 'F' || operands_[i].role == 'R') bytes += dtype_size(operands_[i].dtype);
  return layout_.n_row * static_cast<int64_t>(bytes);
}

char StepRun::class_of(const RowOperand& o, int64_t stride) const {
  return stride == 0 ? 'b' : stride == static_cast<int64_t>(dtype_size(o.dtype)) ? 'c' : 's';
}

void* StepRun::kernel(const std::string& mode, const std::vector<char>& classes) {
  std::string key = mode + (layout_.columns ? "|c|" : "|r|") + std::string(classes.begin(), classes.end());
  auto it = step_.kernels.find(key);
  if (it == step_.kernels.end()) it = step_.kernels.emplace(key, row_kernel(plan_, index_, key)).first;
  return it->second;
}

char StepRun::operand_class(size_t k) const {
  const RowOperand& o = operands_[k];
  return class_of(o, layout_.columns ? layout_.batch_stride(k) : layout_.row_stride(1, k));
}

bool StepRun::is_full(size_t k) const { return operands_[k].role == 'F' && operand_class(k) == 'c'; }

int64_t StepRun::bytes_of(size_t k) const {
  auto bytes = static_cast<int64_t>(dtype_size(operands_[k].dtype));
  for (const auto* axes : {&layout_.batch, &layout_.row})
    for (const RowAxis& a : *axes) bytes *= a.strides[k] ? a.size : 1;
  return bytes;
}

bool StepRun::streams(size_t k) const {
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

void StepRun::fused() {
  prepare_fused();
  int64_t inner = layout_.inner_batch(), outer = layout_.n_batch / inner;
  int64_t per_task = std::max<int64_t>(1, kGrain / row_work());
  if (!layout_.columns) per_task = std::max(per_task, std::min<int64_t>(inner / 16, 8));
  per_task = std::max(per_task, rows_together_);
  if (layout_.columns) per_task = (per_task + kColumnBlock - 1) / kColumnBlock * kColumnBlock;
  // Columns do not meet, so that how many go together may depend on the threads.
  if (band_) per_task = std::clamp(layout_.n_batch / (band_ * 4 * thread_count()), kFewBands, kManyBands) * band_;
  int64_t pieces = (inner + per_task - 1) / per_task;
  run_tasks(outer * pieces, [&](int64_t t) {
    int64_t begin = t % pieces * per_task;
    fused_rows(t / pieces, begin, std::min(inner, begin + per_task));
  });
}

bool StepRun::is_narrow_and_many() const {
  DType d = operands_[0].dtype;
  bool narrow = step_.out_roles[0] == 'F' && (d == DType::BF16 || d == DType::F16);
  return narrow && !layout_.columns && layout_.n_batch * layout_.n_row >= 2 * kGrain;
}

void StepRun::prepare_fused(const Arrays& sums) {
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
  const bool staggered = sums.empty() && staggers(classes[0]);
  const bool ahead = !staggered && asks_ahead(classes[0], !sums.empty());
  if (staggered || ahead) rows_together_ = rows_together();
  if (band_) {
    add_copies(classes);
  } else if (!step_.levels.empty() && (classes[0] == 'n' || is_narrow_and_many())) {
    auto item = std::max<int64_t>(4, static_cast<int64_t>(dtype_size(operands_[0].dtype)));
    classes.push_back('c');
    fused_strides_.insert(fused_strides_.end(), {0, layout_.row_size(1) * item, item});
    parking_.push_back(layout_.n_row * item);
  }
  const char* mode = band_ ? "banded" : !sums.empty() ? "joined" : in_runs() ? "runs" : "fused";
  if (ahead) mode = sums.empty() ? "ahead" : near_bytes(sums) <= kNearerBytes ? "joined ahead" : "joined abreast";
  if (staggered) mode = lies_in_runs() ? "staggered runs" : "staggered";
  fused_ = reinterpret_cast<RowKernel>(kernel(mode, classes));
}

bool StepRun::staggers(char first) const {
  if (first != 'n' || layout_.columns || layout_.row.size() > 2 || layout_.row_size(1) < kLongRow) return false;
  if (step_.levels.empty() || step_.out_roles.find_first_of("RP") != std::string::npos) return false;
  const int64_t bytes = row_bytes();
  int64_t read = 0;
  for (size_t k = n_outputs(); k < operands_.size(); ++k) read += is_full(k);
  if (lies_in_runs()) return in_runs() && read == 1 && bytes <= kChannelBytes;
  bool gains = read == 1 || (read == 2 && layout_.row.size() == 1 && bytes >= kTwoRowsBytes);
  return gains && bytes <= kRowsBytes;
}

bool StepRun::asks_ahead(char first, bool joined) const {
  if (first != 'n' || layout_.columns || layout_.row.size() != 1 || step_.levels.empty()) return false;
  int64_t read = 0;
  for (size_t k = 0; k < operands_.size(); ++k) {
    if (!is_full(k)) continue;
    if (layout_.batch_stride(k) != layout_.n_row * static_cast<int64_t>(dtype_size(operands_[k].dtype))) return false;
    read += k >= n_outputs();
  }
  return read > 1 && row_bytes() >= (joined ? kJoinedBytes : kAheadBytes) && row_bytes() <= kRowsBytes;
}

int64_t StepRun::row_bytes() const {
  int64_t bytes = 0;
  for (size_t k = 0; k < operands_.size(); ++k)
    if (is_full(k)) bytes += layout_.n_row * static_cast<int64_t>(dtype_size(operands_[k].dtype));
  return bytes;
}

bool StepRun::lies_in_runs() const {
  if (layout_.row.size() < 2) return false;
  for (size_t k = 0; k < operands_.size(); ++k) {
    if (!is_full(k)) continue;
    if (layout_.row_stride(0, k) != layout_.row_size(1) * layout_.row_stride(1, k)) return true;
  }
  return false;
}

int64_t StepRun::rows_together() const {
  int64_t inner = layout_.inner_batch();
  // Rows do not meet: how many go together may depend on the threads where there are few.
  if (lies_in_runs()) return std::min(inner, layout_.n_batch / (2 * thread_count()));
  return std::min({inner, layout_.n_batch / 16, kRowsTogether});
}

bool StepRun::in_runs() const {
  if (layout_.columns || layout_.row.size() < 2) return false;
  int64_t length = layout_.row_size(1), bytes = 0, least = kNextRunBytes;
  for (size_t k = n_outputs(); k < operands_.size(); ++k) {
    if (!is_full(k)) continue;
    bytes += static_cast<int64_t>(dtype_size(operands_[k].dtype));
    if (layout_.row_stride(0, k) != length * layout_.row_stride(1, k)) least = kRunBytes;
  }
  return length * bytes >= least && layout_.n_row * layout_.n_batch * bytes >= kStreamBytes / 2;
}

void StepRun::add_copies(std::vector<char>& classes) {
  for (size_t k = n_outputs(); k < operands_.size(); ++k) {
    if (!is_full(k)) continue;
    classes.push_back('c');
    fused_strides_.insert(fused_strides_.end(), {0, 0, 0});
    parking_.push_back(layout_.n_row * kBandBytes);
  }
}

void StepRun::fused_rows(int64_t outer, int64_t b0, int64_t b1, const Arrays& sums) const {
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

void StepRun::call_chunk(RowKernel fn, int64_t outer, const RowChunk& c, size_t first, size_t last,
                         const Arrays& states, int64_t chunk, int64_t count) {
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

std::vector<char> StepRun::classes_for(size_t first, size_t last, size_t before, size_t after) const {
  std::vector<char> classes(before, layout_.columns ? 'c' : 'b');
  for (size_t k = first; k < last; ++k) classes.push_back(operand_class(k));
  classes.insert(classes.end(), after, layout_.columns ? 'c' : 'b');
  return classes;
}

void StepRun::run_level(size_t level) {
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

void StepRun::prepare_level(size_t level) {
  level_ = reinterpret_cast<RowKernel>(kernel(
      "level" + std::to_string(level), classes_for(n_outputs(), operands_.size(), states_.size(), stats_.size())));
}

void StepRun::make_states(size_t level) {
  auto all = static_cast<size_t>(layout_.n_batch) * chunks_.size();
  states_.clear();
  for (DType d : levels()[level]) states_.emplace_back(memory_.emplace_back(all * dtype_size(d)).as<char>(), d);
}

StepRun::Arrays StepRun::cleared_states(int64_t chunk) const {
  Arrays sums = states_;
  for (auto& [data, dtype] : sums) {
    size_t bytes = static_cast<size_t>(layout_.n_batch) * dtype_size(dtype);
    data += static_cast<size_t>(chunk) * bytes;
    std::memset(data, 0, bytes);
  }
  return sums;
}

void StepRun::level_chunks(int64_t first, int64_t last, int64_t outer) {
  for (int64_t i = first, next; i < last; i = next) {
    const RowChunk& c = chunks_[static_cast<size_t>(i)];
    for (next = i + 1; next < last; ++next) {
      const RowChunk& d = chunks_[static_cast<size_t>(next)];
      if (c.outers > 1 || d.outer0 != c.outer0 || d.inners != c.inners) break;
    }
    call_chunk(level_, outer, c, n_outputs(), operands_.size(), states_, i, next - i);
  }
}

void StepRun::close_level(size_t level) {
  combine(level, memory_.size() - states_.size());
  stats_.insert(stats_.end(), states_.begin(), states_.end());
}

char* StepRun::state(size_t memory, DType d, int64_t chunk) {
  return memory_[memory].as<char>() + chunk * layout_.n_batch * static_cast<int64_t>(dtype_size(d));
}

void StepRun::combine(size_t level, size_t base) {
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

void StepRun::finish() {
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

}  // namespace fl
