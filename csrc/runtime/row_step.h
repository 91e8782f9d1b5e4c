// A step of a row program that is being run: which kernels do it, over which pieces, in which memory.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "runtime/row.h"
#include "runtime/row_again.h"
#include "runtime/row_layout.h"

namespace fl {

class StepRun {
 public:
  StepRun(RowPlan& plan, int index, std::vector<RowOperand> operands, RowLayout layout, const Slot* params)
      : plan_(plan),
        step_(plan.steps[static_cast<size_t>(index)]),
        index_(index),
        operands_(std::move(operands)),
        layout_(std::move(layout)),
        params_(params) {}

  // The same step over operands that lie in the same way, at `data`.
  StepRun(const StepRun& other, char* const* data, const Slot* params)
      : StepRun(other.plan_, other.index_, other.operands_, other.layout_, params) {
    for (size_t k = 0; k < operands_.size(); ++k) operands_[k].data = data[k];
  }

  // The step, to be run again at other data.
  std::shared_ptr<const StepRun> kept() const;

  // Kernels walk two dimensions of a row.
  bool fits() const { return layout_.row.size() <= 2; }

  void run();

  // After run(): what it launched, if that was one fused kernel in one thread.
  bool remember(RowAgain::Step& step) const;

  // Both steps, the one that follows being a reduction over the rows of this one: what each of its chunks needs is
  // read by both while it is in the cache. False, and nothing is done, where they do not go together.
  bool run_with(StepRun& next);

 private:
  size_t n_outputs() const { return step_.outputs.size(); }

  bool sums_runs() const { return step_.out_roles.find('P') != std::string::npos; }

  // Of what is split.
  const std::vector<std::vector<DType>>& levels() const;

  bool use_split() const;

  // The columns that go together where several passes read many long ones, copying them in the first
  // (codegen/bands.py); else 0.
  int64_t band() const;

  // Whether every row of this step is one position in the rows of the next, which are read in chunks, once.
  bool leads(const StepRun& next) const;

  // One dimension each: they count the same way if an operand that both have lies the same way.
  bool same_order(const StepRun& next) const;

  // Whether the kernel of this step, which leads, adds up the next one's sums: an element of a row has its sum, which
  // stays near beside what a row reads, and is not waited for by the next row.
  bool joins(const StepRun& next) const;

  char class_of(const RowOperand& o, int64_t stride) const;

  void* kernel(const std::string& mode, const std::vector<char>& classes);

  // Class of operand k along the vector axis.
  char operand_class(size_t k) const;

  // Whether an operand varies over batch and row, and lies in the direction of the vectors.
  bool is_full(size_t k) const;

  // Of an operand's elements, each counted once.
  int64_t bytes_of(size_t k) const;

  // Whether an output is larger than the caches, and its vectors start at multiples of 64 bytes.
  bool streams(size_t k) const;

  int64_t row_work() const { return step_.picks && !layout_.columns ? 1 : std::max<int64_t>(1, layout_.n_row); }

  void fused();

  // Whether values that wait between two passes over rows do so in a wider dtype than that of the results.
  bool is_narrow_and_many() const;

  using Arrays = std::vector<std::pair<char*, DType>>;

  // `sums`: of the next step, one for each element of a row.
  void prepare_fused(const Arrays& sums = {});

  // Whether a row goes past the caches while the next is read (codegen/staggered.py): of one operand, or two if it
  // is long, that lies as it is read, and stays near.
  bool staggers(char first) const;

  // Whether all passes ask for what follows (codegen/ahead.py): of several operands, rows that follow each other and
  // either leave the first cache or are added up as well.
  bool asks_ahead(char first, bool joined) const;

  // Bytes of a row in all operands that are read, and of the sums that it is added to.
  int64_t near_bytes(const Arrays& sums) const;

  // Bytes of a row in all operands that vary over it and from row to row.
  int64_t row_bytes() const;

  // Whether the runs that rows are made of lie apart in an operand.
  bool lies_in_runs() const;

  // How many rows a task has at least, where one is written while the next is read, or asks for it.
  int64_t rows_together() const;

  // Whether some of the runs that rows are made of, of more than the caches keep, are read together (codegen/runs.py).
  bool in_runs() const;

  // What stands in for each operand whose columns are read again.
  void add_copies(std::vector<char>& classes);

  // Rows [b0, b1) of the innermost batch dimension at one outer batch index.
  void fused_rows(int64_t outer, int64_t b0, int64_t b1, const Arrays& sums = {}) const;

  template <class F>
  void run_tasks(int64_t n, F&& task) const;

  // ---- split: chunks of the row

  // Calls fn for one chunk of the row at one outer batch index. `states` are arrays of [chunks, n_batch], statistics of
  // [n_batch]. A thread's lists keep their memory from chunk to chunk: chunks are short beside an allocation.
  // Several chunks that follow each other are the kernel's batch, where there is no other.
  void call_chunk(RowKernel fn, int64_t outer, const RowChunk& c, size_t first, size_t last, const Arrays& states = {},
                  int64_t chunk = 0, int64_t count = 1);

  std::vector<char> classes_for(size_t first, size_t last, size_t before, size_t after) const;

  void run_level(size_t level);

  void prepare_level(size_t level);

  void make_states(size_t level);

  // The sums of one chunk, at zero.
  Arrays cleared_states(int64_t chunk) const;

  void level_chunks(int64_t first, int64_t last, int64_t outer);

  void close_level(size_t level);

  char* state(size_t memory, DType d, int64_t chunk);

  // Neighbours first, then pairs of pairs: the same tree whichever thread made the parts.
  void combine(size_t level, size_t base);

  // Outputs from the statistics: those of role B once a row, those of role F once an element.
  void finish();

  RowPlan& plan_;
  RowStep& step_;
  int index_;
  std::vector<RowOperand> operands_;
  RowLayout layout_;
  const Slot* params_;
  RowKernel fused_ = nullptr, level_ = nullptr;
  std::vector<int64_t> fused_strides_;
  int64_t rows_together_ = 1;     // of a task at least, where what is done for one serves the next
  int64_t band_ = 0;              // columns that go together, copied by the first pass
  std::vector<int64_t> parking_;  // bytes of memory in which values wait for a later pass
  std::vector<RowChunk> chunks_;
  std::deque<Scratch> memory_;  // states of all chunks, one array a state
  Arrays states_, stats_;       // of the level that runs; of all before it
};

}  // namespace fl
