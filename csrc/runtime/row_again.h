// Row calls that were made before: what they run, without looking at shapes again.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/row.h"

namespace fl {

constexpr size_t kMaxRowTensors = 32;

class StepRun;

// A call's results, temporaries and kernels, with its tensors left open.
struct RowAgain {
  struct Made {
    Dims sizes, strides;
    DType dtype;
  };
  struct Step {
    RowKernel kernel = nullptr;
    std::vector<int> tensors;  // of each operand: result, temporary or argument, numbered in that order
    std::vector<int64_t> strides;
    int64_t shape[kRowShape] = {};
    std::vector<int64_t> offsets;           // of each operand, in bytes, for one launch after the other
    std::shared_ptr<const StepRun> longer;  // in place of the kernel, where it takes more than one or many threads
  };
  std::vector<Made> results, temps;
  std::vector<int> arguments;  // the parameter of each operand
  std::vector<Step> steps;

  void run(const Call& call, Outputs& outputs, const Slot* params) const;
};

using RowAgainPtr = std::shared_ptr<const RowAgain>;

// The bytes that the call's layout depends on, in memory that the thread's next call takes over; null where they are
// not all of it.
const std::string* row_key(const Call& call, const RowInfo& info);
RowAgainPtr find_again(const std::string& key);
void keep_again(const std::string& key, RowAgainPtr again);

}  // namespace fl
