// Attention without a matrix of scores in memory: softmax(scale q k^T + mask) v, head by head, and its gradients.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace fl {

// A tensor (batch, heads, rows, columns), wherever it lies; strides in elements.
struct Heads {
  char* data = nullptr;
  int64_t batch = 0, head = 0, row = 0, col = 0;
};

struct Attention {
  int64_t batch = 0, heads = 0, key_heads = 0;  // heads / key_heads neighbouring heads share one of k and v
  int64_t queries = 0, keys = 0, depth = 0, value_depth = 0;
  DType dtype = DType::F32;  // floating point; 16-bit types are computed in float32
  bool causal = false;       // query i sees the keys up to i
  double scale = 1;
  Heads q, k, v;
  Heads mask;                      // no data: none. Columns are contiguous, the other strides may be 0
  DType mask_dtype = DType::Bool;  // or the type of the computation
  Heads out;                       // written by the forward, read by the gradient
  char* lse = nullptr;             // (batch, heads, queries) of the type of the computation, contiguous; likewise

  int64_t group() const { return heads / key_heads; }
};

void attention_forward(const Attention& a);

struct AttentionGradient {
  Heads grad, dq, dk, dv;
};
void attention_backward(const Attention& a, const AttentionGradient& g);

// The same without generated kernels.
void plain_attention_forward(const Attention& a);
void plain_attention_backward(const Attention& a, const AttentionGradient& g);

}  // namespace fl
