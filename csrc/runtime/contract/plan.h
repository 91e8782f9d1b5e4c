// How a matrix product is cut into chunks of work and blocks of memory.
#pragma once
#include "runtime/contract/gemm.h"
#include "runtime/contract/kernels.h"
#include "runtime/contract/tiles.h"

namespace fl {

// Multiply-adds that one chunk should have before threads are worth waking.
constexpr int64_t kChunkWork = 1 << 19;
// Chunks of middling products, a number that most counts of threads divide, and the most that large ones are cut into:
// each chunk packs its own panels, so not more.
constexpr int64_t kChunks = 12, kManyChunks = 48;

// A multiplication of complex numbers is four of real ones.
inline int64_t multiply_adds(const Gemm& g) { return g.m * g.n * g.k * (is_complex(g.dtype) ? 4 : 1); }

// How a product is cut. It follows from the sizes and strides alone, never from the number of threads.
struct Plan {
  int vectors;            // of a panel
  int64_t width, height;  // of a tile
  int64_t depth;          // of a block
  int64_t row_blocks = 1, column_blocks = 1, parts = 1;
  int64_t row_unit = 1;     // blocks of rows begin at its multiples
  bool transposes = false;  // blocks are transposed on their way into C
  int64_t chunks() const { return row_blocks * column_blocks * parts; }
};

// `g.k` counts what the kernels step over: elements, or pairs of them.
Plan make_plan(const MicroKernels& mk, const Gemm& g);

// A block of C over one part of the depth.
struct Chunk {
  Range rows, columns, depth;
  int64_t part;
};
Chunk chunk_of(const Gemm& g, const Plan& p, int64_t i);

}  // namespace fl
