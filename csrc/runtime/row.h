// Reductions and row programs: expressions with reductions over a set of dimensions.
//
// The dimensions of a call fall into two groups: those of the *row*, over which the program reduces, and the *batch*.
// An operand has a role: F varies over both, B over the batch only (a mean), R over the row only (a weight).
// Python plans a program once per key: steps, each reducing over the row (or, for gradients of R operands, over the
// batch, with the roles exchanged), each in levels (softmax has two: the maximum, then the sum). A step runs either
//   fused: one kernel does a row from start to end (one that reads runs side by side where rows are made of them:
//     codegen/runs.py; one that writes a row while it reads the next where results go past the caches:
//     codegen/staggered.py),
//   banded: the same for a band of columns of a large matrix, copied while it is read (codegen/bands.py), or
//   split: where rows are few and long, level by level over chunks whose partial states are combined in a fixed tree.
// All depend on shapes only, so results do not depend on the number of threads.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "runtime/kernel_table.h"

namespace fl {

// How one overload uses its arguments; made by Python at the first call (flambeau/kernels/row.py).
struct RowInfo {
  enum class Rule : uint8_t { Param, Last, Except, All, Class };
  Rule rule = Rule::Param;
  // Param: an empty list of dimensions means all of them, not none.
  bool empty_is_all = true;
  int param = -1;    // Param: index of the dim parameter (int, int[] or None for all); Last: of an int[] (its length)
  int axis = 0;      // Except: the one batch dimension. Class: the row is dimension 1, or the only one
  int keepdim = -1;  // index of the keepdim parameter
  int dtype = -1;    // index of a dtype parameter
  std::vector<int> operands;        // parameter index of each Tensor operand
  std::string in_roles, out_roles;  // P: sums over the last dimension, which stays as 1
  std::string out_dtypes;   // one letter an output: c compute, s sum (integers to int64), 0 as operand 0, i int64, b
                            // bool, r real, m what is computed in (float32 for halves)
  std::string empty_error;  // not empty: a row without elements raises IndexError with this sentence
};

struct RowTemp {
  char role;
  DType dtype;
};

struct RowStep {
  bool over_batch = false;  // exchanges row and batch; roles below are as the step sees them
  bool ordered = false;     // uses the position in the row: its dimensions keep their order
  bool picks = false;       // reads an element or few of each row
  bool joins = false;       // can add its rows to the sums of the step that follows
  std::vector<int> inputs;  // operand i, or ~k for temporary k
  std::string roles;
  std::vector<int> outputs;  // output i, or ~k for temporary k
  std::string out_roles;
  std::vector<std::vector<DType>> levels;             // dtypes of the states of each level
  std::vector<std::vector<DType>> chunk_levels;       // the same in chunks, if they have others
  std::map<std::string, void*, std::less<>> kernels;  // "mode|axis|classes" -> address
};

struct RowPlan {
  std::vector<RowTemp> temps;
  std::vector<RowStep> steps;
  void* python = nullptr;  // the Python plan (immortal)
};

// void k(char** ptr, const int64_t* stride, const int64_t* shape, const Slot* params)
//   ptr: outputs (or states), then inputs, then the finished states of earlier levels
//   stride: three an operand, in bytes: batch, outer row, inner row
//   shape: batch, outer row, inner row, position of the first element in the row, elements in the whole row, how much
//     of the batch follows, which a later call does
constexpr int kRowShape = 6;
using RowKernel = void (*)(char** ptr, const int64_t* stride, const int64_t* shape, const Slot* params);

// Set by bind.
extern const RowInfo* (*row_info)(const Overload&);
extern RowPlan* (*row_planner)(const Call&, const std::vector<DType>& in, const std::vector<DType>& out);
extern void* (*row_kernel)(RowPlan&, int step, const std::string& key);

void row_forward(const Call& call, Outputs& outputs);

}  // namespace fl
