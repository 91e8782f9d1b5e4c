// The recurrent weights of a network, as every step multiplies by them: packed once for all steps.
#pragma once
#include <optional>

#include "runtime/contract/gemm.h"
#include "runtime/contract/kernels.h"
#include "runtime/contract/tiles.h"

namespace fl {

class StepProduct {
 public:
  // b and its strides, k, bias and dtype of `g` count; its g.n columns belong to `gates` gates, one after the other.
  // `rows`: the most that a step has.
  StepProduct(const Gemm& g, int64_t gates, int64_t rows);

  int64_t width() const { return width_; }  // columns of a gate
  // Blocks of columns that a gate is cut into.
  int64_t panels() const { return ceil_div(width_, panel_width_); }
  Range columns(Range panels) const;
  int64_t bytes() const { return g_.n * g_.k * element_; }  // of the weights
  bool stay_near() const { return mk_ && 2 * bytes() <= mk_->l2_bytes; }
  int64_t work(int64_t rows) const { return rows * g_.n * g_.k; }  // multiply-adds
  // The columns of every gate in these panels: out[row][gate][column], columns one after the other. `a` is [rows][k],
  // rows in bytes. Runs on the calling thread.
  void multiply(const char* a, int64_t a_row, int64_t rows, Range panels, char* out, int64_t out_row) const;

 private:
  void pack(int64_t gate, int64_t panel) const;
  PanelShape shape(int64_t panel) const;
  char* packed(int64_t gate, int64_t panel) const {
    return packed_->as() + static_cast<size_t>(gate * panels() + panel) * panel_bytes_;
  }
  void multiply_packed(const char* a, int64_t a_row, int64_t rows, Range panels, char* out, int64_t out_row) const;

  Gemm g_;
  int64_t gates_, width_, panel_width_, element_;
  bool pairs_ = false;
  const MicroKernels* mk_ = nullptr;  // null: products are made by `gemm`, whose operands stay as they are
  size_t panel_bytes_ = 0;
  std::optional<Scratch> packed_, bias_;
};

}  // namespace fl
