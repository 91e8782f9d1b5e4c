// What the drivers of attention share: blocks of queries, their rows in memory, and products with a block of keys.
#pragma once
#include "runtime/contract/attention.h"
#include "runtime/contract/attention_kernels.h"
#include "runtime/contract/tiles.h"

namespace fl {

// Keys of a block of scores: with as many queries as three vectors hold it stays in the nearest caches. The last block
// has up to half as many more, instead of few.
constexpr int64_t kKeyBlock = 128;

// `count` queries from `first` of each of `heads` heads from `head` on, which share one head of keys.
struct QueryBlock {
  int64_t head, heads, first, count;
  int64_t rows() const { return heads * count; }
  int64_t head_of(int64_t row) const { return heads == 1 ? head : head + row / count; }
  int64_t query_of(int64_t row) const { return first + (heads == 1 ? row : row % count); }
};

// A step over some keys. Where a causal mask hides them from the first vectors of a block, these are skipped: `block`
// is the rest, `vectors` wide, and its values begin `offset` bytes behind those of the whole block.
struct KeyStep {
  Range keys;
  QueryBlock block;
  int vectors;
  int64_t offset;
};

// The queries of a group of heads, cut into blocks that fill a panel: parts of a head, or several short heads.
class QueryBlocks {
 public:
  QueryBlocks(const Attention& a, int64_t lanes, int64_t vectors);
  int64_t count() const { return per_head_ ? per_head_ * group_ : ceil_div(group_, merged_); }
  QueryBlock at(int64_t group, int64_t i) const;

 private:
  int64_t group_, queries_, lanes_, per_head_ = 0, merged_ = 0;
};

// Rows of the type of the computation, columns one beside the other; strides in bytes.
struct Rows {
  char* data;
  int64_t row;
  Rows from(int64_t first) const { return {data + first * row, row}; }
};

// Rows that memory is asked for a few at a time, by steps of a product or between its tiles, which hide the waiting:
// their addresses follow no line, so that the processor does not foresee them.
class Ahead {
 public:
  void add(const char* first, int64_t step, int64_t rows, int64_t bytes) {
    if (rows <= 0) return;
    for (int64_t at = 0; at < bytes && count_ < kMost; at += kPiece) {
      parts_[count_++] = {first + at, step, rows};
      rows_ += rows;
    }
  }
  // How many times `ask` will be called, at least, until all is asked for.
  void share(int64_t times) { share_ = ceil_div(rows_, times); }
  void ask();
  void ask_all() { share_ = rows_, ask(); }
  // Leaves to so many steps of a kernel what they can ask for; says whether there was anything.
  bool leave(ScoreArgs& args, int64_t steps);

 private:
  static constexpr int64_t kPiece = 128;
  static constexpr int kMost = 64;
  struct Part {  // pieces of rows
    const char* next;
    int64_t step, rows;
  };
  Part parts_[kMost];
  int count_ = 0, at_ = 0;
  int64_t rows_ = 0, share_ = 0;
};

// Vectors of a full panel.
int panel_width(const Attention& a, const MicroKernels& mk);

// One attention with the kernels that compute it, and the sizes that its blocks have.
class AttentionBlocks {
 public:
  AttentionBlocks(const Attention& a, const MicroKernels& mk, const AttentionKernels& ak, int64_t key_block);

  const Attention& a;
  const MicroKernels& mk;
  const AttentionKernels& ak;
  const int64_t element;
  const int vectors;        // of a full panel
  const int64_t key_block;  // keys of a block of scores
  const QueryBlocks blocks;

  // Of one value for each query of a block; of a panel (packing writes whole squares of lanes).
  size_t lane_bytes() const { return static_cast<size_t>(vectors * mk.vector_bytes); }
  size_t panel_bytes(int64_t rows) const { return static_cast<size_t>(round_up(rows, mk.lanes)) * lane_bytes(); }
  size_t score_bytes() const { return panel_bytes(key_block + key_block / 2); }
  size_t row_bytes(int64_t columns) const;  // of a block of queries, row by row, with room for whole vectors
  // Whether rows serve as they lie in memory; if not, they are copied.
  bool in_place(const Heads& heads, int64_t columns) const;
  size_t key_bytes(const Heads& heads, int64_t columns, int64_t keys) const;  // of that copy; 0: none

  // The rows of keys: in memory, or read into `copy`.
  Rows keys(const Heads& heads, int64_t batch, int64_t head, int64_t columns, Range keys, char* copy) const;
  // The rows of a block of queries, likewise.
  Rows queries(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t columns, char* copy) const;
  // A row of a tensor in the type of the computation, and back; `step` elements lie between columns.
  void read_row(const char* from, int64_t step, int64_t columns, char* to) const;
  void write_row(const char* from, int64_t columns, char* to, int64_t step) const;
  // Asks memory at once for keys and values from `known` on that a step and the next need.
  void prefetch(const KeyStep& step, Rows k, Rows v, int64_t known, int64_t end) const;
  // Rows as a panel: lanes are queries.
  void pack(Rows rows, const QueryBlock& block, int64_t columns, char* panel) const;
  // The way back, straight to memory or by way of `copy`.
  void unpack(const char* panel, const Heads& heads, int64_t batch, const QueryBlock& block, int64_t columns,
              char* copy) const;
  int64_t row_step(int64_t columns) const { return round_up(columns, mk.lanes) * element; }
  // The address of a query of a block.
  char* query_data(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t row) const;

  // Keys that each lane sees (`limits`), and that any lane sees (returned).
  int64_t fill_limits(const QueryBlock& block, char* limits) const;
  // The keys from `first` on, up to `end`, that are computed at once.
  KeyStep step(const QueryBlock& block, int64_t first, int64_t end) const;
  // The row of a block of scores from which some lane may not see a key.
  int64_t free_rows(const QueryBlock& block, Range keys) const;
  // scores = keys times the vectors of a packed panel of queries that a step takes, `depth` deep.
  void multiply(Rows keys, const KeyStep& step, int64_t depth, const char* panel, char* scores) const;
  // Parts of a row of columns that tiles are as wide as; none if columns leave lanes empty, or if vectors are less than
  // a line: a step of such tiles does not take as long as the line of a row that it waits for.
  int64_t column_parts(int64_t columns) const {
    const bool fits = mk.vector_bytes >= 64 && columns % mk.lanes == 0;
    return fits ? ceil_div(columns / mk.lanes, panel_vectors(mk)) : 0;
  }
  // out (+)= left times rows of whole vectors, which lie where they do. `depth(first, end)` is the part of the depth
  // that rows of the result take. Rows are asked for with every tile.
  template <class Depth>
  void add_rows_product(const Left& left, int64_t rows, Rows right, int64_t columns, Rows out, int64_t flags,
                        Ahead& ahead, Depth&& depth) const {
    const int64_t parts = column_parts(columns);
    MicroArgs args{};
    args.mask = lane_mask(mk.lanes);
    args.flags = flags;
    args.a_row = left.row, args.a_col = left.col;
    args.c_row = out.row, args.panel_step = right.row;
    for (int64_t n = 0; n < parts; n++) {
      const Range part = even_part(columns / mk.lanes, parts, n);
      const Tiles tiles(rows, mk.max_height[part.size()]);
      for (int64_t t = 0; t < tiles.count; t++) {
        const int64_t first = tiles.begin(t), end = tiles.begin(t + 1);
        const Range taken = depth(first, end);
        if (taken.size() <= 0) continue;
        args.k = taken.size();
        args.a = left.data + first * left.row + taken.begin * left.col;
        args.b = right.from(taken.begin).data + part.begin * mk.vector_bytes;
        args.c = out.from(first).data + part.begin * mk.vector_bytes;
        mk.use[part.size()][end - first](&args);
        ahead.ask();
      }
    }
  }
  // The keys of a step that some queries of a block before `end` see.
  Range seen_of(const KeyStep& step, int64_t end) const {
    const int64_t keys = step.keys.size();
    if (!a.causal || step.block.heads > 1) return {0, keys};
    return {0, std::min(keys, step.block.first + end - step.keys.begin)};
  }
  // sums (+)= the transpose of keys times a block of weights: `columns` rows of queries, `sums_row` bytes apart. Some
  // rows are asked for with every tile.
  void collect(Rows keys, const KeyStep& step, int64_t columns, char* weights, char* sums, int64_t sums_row,
               bool accumulate, Ahead& ahead) const;
  void add_mask(int64_t batch, const KeyStep& step, char* scores) const;
  int block_vectors(const QueryBlock& block) const { return static_cast<int>(ceil_div(block.rows(), mk.lanes)); }
};

// Elements of the type of the computation from n elements `step` apart, and back, without generated kernels.
void read_elements(DType dtype, const char* from, int64_t step, int64_t n, char* to);
void write_elements(DType dtype, const char* from, int64_t n, char* to, int64_t step);

// The address of a head's first element.
inline char* head_data(const Heads& heads, int64_t batch, int64_t head, DType dtype) {
  return heads.data + (batch * heads.batch + head * heads.head) * static_cast<int64_t>(dtype_size(dtype));
}

// The forward of queries that would leave most lanes of a panel empty.
bool queries_are_few(const AttentionBlocks& blocks);
void attend_few_queries(const AttentionBlocks& blocks);

// A number in every lane of `vectors` vectors.
void fill_lanes(const MicroKernels& mk, int vectors, double value, char* lanes);

}  // namespace fl
