#include "runtime/contract/attention_blocks.h"

#include "core/element.h"
#include "runtime/contract/plain.h"

namespace fl {
namespace {

constexpr int64_t kCacheLine = 64;

void prefetch_row(const char* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(row + at, 0, 2);
}

void prefetch_rows(Rows rows, int64_t begin, int64_t end, int64_t bytes) {
  for (int64_t i = begin; i < end; i++) prefetch_row(rows.data + i * rows.row, bytes);
}

template <class F>
void with_float_type(DType dtype, F&& fn) {
  if (dtype == DType::F16) return fn(std::type_identity<Half>{}, float{});
  if (dtype == DType::BF16) return fn(std::type_identity<BFloat16>{}, float{});
  if (dtype == DType::F32) return fn(std::type_identity<float>{}, float{});
  fn(std::type_identity<double>{}, double{});
}

template <class Integer>
int64_t fill_limits_as(const AttentionBlocks& b, const QueryBlock& block, Integer* limits) {
  int64_t most = 0, keys = b.a.keys, lanes = b.block_vectors(block) * b.mk.lanes;
  for (int64_t i = 0; i < lanes; i++) {
    int64_t limit = b.a.causal && i < block.rows() ? std::min(block.query_of(i) + 1, keys) : keys;
    limits[i] = static_cast<Integer>(limit);
    if (i < block.rows()) most = std::max(most, limit);
  }
  return most;
}

}  // namespace

QueryBlocks::QueryBlocks(const Attention& a, int64_t lanes, int64_t vectors)
    : group_(a.group()), queries_(a.queries), lanes_(lanes) {
  int64_t width = lanes * vectors;
  if (2 * queries_ <= width && group_ > 1) {
    merged_ = std::min(group_, width / queries_);
  } else {
    per_head_ = ceil_div(queries_, width);
  }
}

QueryBlock QueryBlocks::at(int64_t group, int64_t i) const {
  int64_t head = group * group_;
  if (!per_head_) {
    Range heads = even_part(group_, count(), i);
    return {head + heads.begin, heads.size(), 0, queries_};
  }
  Range units = even_part(ceil_div(queries_, lanes_), per_head_, i % per_head_);
  int64_t first = units.begin * lanes_;
  return {head + i / per_head_, 1, first, std::min(units.end * lanes_, queries_) - first};
}

// Three vectors a panel load least, where registers leave tiles of eight rows. Beside the diagonal of a causal mask
// narrow blocks compute less that is thrown away, but not if rows of their tall tiles drive each other out of the
// cache.
int panel_width(const Attention& a, const MicroKernels& mk) {
  if (mk.max_height[3] < 8) return 2;
  const int64_t tall = mk.max_height[2], row = a.k.row * static_cast<int64_t>(dtype_size(a.dtype));
  return a.causal && tile_height(tall, row) == tall ? 2 : 3;
}

void Ahead::ask() {
  int64_t rows = share_;
  for (; at_ < count_; at_++) {
    Part& part = parts_[at_];
    for (; part.rows; part.rows--, part.next += part.step) {
      if (rows-- == 0) return;
      prefetch_row(part.next, kPiece);
    }
  }
}

bool Ahead::leave(ScoreArgs& args, int64_t steps) {
  while (at_ < count_ && parts_[at_].rows == 0) at_++;
  if (at_ == count_) return false;
  Part& part = parts_[at_];
  const int64_t rows = std::min(part.rows, steps);
  args.ahead = part.next, args.ahead_step = part.step, args.ahead_last = part.next + (rows - 1) * part.step;
  part.next += rows * part.step, part.rows -= rows;
  return true;
}

AttentionBlocks::AttentionBlocks(const Attention& a_, const MicroKernels& mk_, const AttentionKernels& ak_,
                                 int64_t key_block_)
    : a(a_),
      mk(mk_),
      ak(ak_),
      element(mk_.element_bytes),
      vectors(panel_width(a_, mk_)),
      key_block(key_block_),
      blocks(a_, mk_.lanes, panel_width(a_, mk_)) {}

size_t AttentionBlocks::row_bytes(int64_t columns) const {
  return static_cast<size_t>(vectors * mk.lanes * row_step(columns));
}

bool AttentionBlocks::in_place(const Heads& heads, int64_t columns) const {
  return compute_type(a.dtype) == a.dtype && (heads.col == 1 || columns == 1);
}

size_t AttentionBlocks::key_bytes(const Heads& heads, int64_t columns, int64_t keys) const {
  return in_place(heads, columns) ? 0 : static_cast<size_t>(keys * columns * element);
}

char* AttentionBlocks::query_data(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t row) const {
  const auto size = static_cast<int64_t>(dtype_size(a.dtype));
  return head_data(heads, batch, block.head_of(row), a.dtype) + block.query_of(row) * heads.row * size;
}

void AttentionBlocks::prefetch(const KeyStep& step, Rows k, Rows v, int64_t known, int64_t end) const {
  const int64_t next = std::min(step.keys.end + key_block + key_block / 2, end);
  prefetch_rows(v, std::max(known, step.keys.begin), step.keys.end, a.value_depth * element);
  prefetch_rows(k, std::max(known, step.keys.end), next, a.depth * element);
}

void AttentionBlocks::read_row(const char* from, int64_t step, int64_t columns, char* to) const {
  if (step == 1 && a.dtype == DType::BF16) return ak.read_bf16(columns, from, to);
  if (step == 1 && a.dtype == DType::F16) return ak.read_f16(columns, from, to);
  read_elements(a.dtype, from, step, columns, to);
}

void AttentionBlocks::write_row(const char* from, int64_t columns, char* to, int64_t step) const {
  if (step == 1 && a.dtype == DType::BF16) return ak.write_bf16(columns, from, to);
  if (step == 1 && a.dtype == DType::F16) return ak.write_f16(columns, from, to);
  write_elements(a.dtype, from, columns, to, step);
}

Rows AttentionBlocks::keys(const Heads& heads, int64_t batch, int64_t head, int64_t columns, Range keys,
                           char* copy) const {
  const int64_t row = heads.row * static_cast<int64_t>(dtype_size(a.dtype));
  char* first = head_data(heads, batch, head, a.dtype) + keys.begin * row;
  if (in_place(heads, columns)) return {first, row};
  for (int64_t i = 0; i < keys.size(); i++) {
    read_row(first + i * row, heads.col, columns, copy + i * columns * element);
  }
  return {copy, columns * element};
}

Rows AttentionBlocks::queries(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t columns,
                              char* copy) const {
  if (block.heads == 1 && in_place(heads, columns)) {
    return {query_data(heads, batch, block, 0), heads.row * element};
  }
  for (int64_t i = 0; i < block.rows(); i++) {
    read_row(query_data(heads, batch, block, i), heads.col, columns, copy + i * columns * element);
  }
  return {copy, columns * element};
}

void AttentionBlocks::pack(Rows rows, const QueryBlock& block, int64_t columns, char* panel) const {
  pack_panel(mk, rows.data, element, rows.row, columns, PanelShape(block.rows(), mk.lanes), panel);
}

void AttentionBlocks::unpack(const char* panel, const Heads& heads, int64_t batch, const QueryBlock& block,
                             int64_t columns, char* copy) const {
  const int64_t panel_row = block_vectors(block) * mk.vector_bytes;
  bool whole = block.heads == 1 && block.rows() % mk.lanes == 0 && columns % mk.lanes == 0;
  if (whole && in_place(heads, columns)) {
    transpose_rows(mk, panel, panel_row, block.rows(), columns, heads.row * element,
                   query_data(heads, batch, block, 0));
    return;
  }
  transpose_rows(mk, panel, panel_row, block.rows(), columns, row_step(columns), copy);
  for (int64_t i = 0; i < block.rows(); i++) {
    write_row(copy + i * row_step(columns), columns, query_data(heads, batch, block, i), heads.col);
  }
}

int64_t AttentionBlocks::fill_limits(const QueryBlock& block, char* limits) const {
  if (element == 4) return fill_limits_as(*this, block, reinterpret_cast<int32_t*>(limits));
  return fill_limits_as(*this, block, reinterpret_cast<int64_t*>(limits));
}

int64_t AttentionBlocks::free_rows(const QueryBlock& block, Range keys) const {
  if (!a.causal) return keys.size();
  return std::clamp<int64_t>(block.first + 1 - keys.begin, 0, keys.size());
}

KeyStep AttentionBlocks::step(const QueryBlock& block, int64_t first, int64_t end) const {
  const bool last = end - first <= key_block + key_block / 2;
  KeyStep s{{first, last ? end : first + key_block}, block, block_vectors(block), 0};
  if (!a.causal || block.heads > 1) return s;
  const int64_t skipped = std::max<int64_t>(0, (first - block.first) / mk.lanes);
  s.keys.end = std::min(s.keys.end, block.first + (skipped + 1) * mk.lanes);
  s.block.first += skipped * mk.lanes;
  s.block.count -= skipped * mk.lanes;
  s.vectors -= static_cast<int>(skipped);
  s.offset = skipped * mk.vector_bytes;
  return s;
}

void AttentionBlocks::multiply(Rows keys, const KeyStep& step, int64_t depth, const char* panel, char* scores) const {
  MicroArgs args{};
  args.k = depth;
  args.a_row = keys.row, args.a_col = element;
  args.b = panel + step.offset, args.panel_step = step.offset + step.vectors * mk.vector_bytes;
  args.c_row = step.vectors * mk.vector_bytes;
  args.mask = lane_mask(mk.lanes);
  args.flags = kNear;
  const Tiles tiles(step.keys.size(), mk.max_height[step.vectors]);
  for (int64_t t = 0; t < tiles.count; t++) {
    const int64_t first = tiles.begin(t);
    args.a = keys.data + first * keys.row;
    args.c = scores + first * args.c_row;
    mk.use[step.vectors][tiles.begin(t + 1) - first](&args);
  }
}

void AttentionBlocks::collect(Rows keys, const KeyStep& step, int64_t columns, char* weights, char* sums,
                              int64_t sums_row, bool accumulate, Ahead& ahead) const {
  MicroArgs args{};
  args.k = step.keys.size();
  args.c = sums + step.offset;
  args.c_row = sums_row;
  args.mask = lane_mask(mk.lanes);
  args.flags = kNear | (accumulate ? kAccumulate : 0);
  args.b = weights;
  args.panel_step = step.vectors * mk.vector_bytes;
  args.a_row = element, args.a_col = keys.row;
  const Tiles tiles(columns, mk.max_height[step.vectors]);
  for (int64_t t = 0; t < tiles.count; t++) {
    const int64_t first = tiles.begin(t);
    args.a = keys.data + first * element;
    args.c = sums + step.offset + first * sums_row;
    mk.use[step.vectors][tiles.begin(t + 1) - first](&args);
    ahead.ask();
  }
}

void AttentionBlocks::add_mask(int64_t batch, const KeyStep& step, char* scores) const {
  const QueryBlock& block = step.block;
  const Range keys = step.keys;
  const auto size = static_cast<int64_t>(dtype_size(a.mask_dtype));
  const int64_t lanes = mk.lanes, groups = ceil_div(keys.size(), lanes), count = step.vectors * lanes;
  uint16_t masks[kKeyBlock];
  std::fill(masks, masks + groups, lane_mask(lanes));
  masks[groups - 1] = lane_mask(keys.size() - (groups - 1) * lanes);
  PackedRow rows[kMaxVectors * 16];
  for (int64_t i = 0; i < count; i++) {
    int64_t row = std::min(i, block.rows() - 1);
    rows[i] = {(block.head_of(row) * a.mask.head + block.query_of(row) * a.mask.row) * size, masks};
  }
  const char* source = a.mask.data + (batch * a.mask.batch + keys.begin) * size;
  auto add = a.mask_dtype == DType::Bool ? ak.mask_bool : ak.mask;
  add(groups, source, rows, scores, count / lanes, count * element);
}

void read_elements(DType dtype, const char* from, int64_t step, int64_t n, char* to) {
  if (step == 1 && compute_type(dtype) == dtype) {
    std::memcpy(to, from, static_cast<size_t>(n) * dtype_size(dtype));
    return;
  }
  with_float_type(dtype, [&](auto type, auto wide) {
    const auto* source = reinterpret_cast<const typename decltype(type)::type*>(from);
    auto* result = reinterpret_cast<decltype(wide)*>(to);
    for (int64_t i = 0; i < n; i++) result[i] = source[i * step];
  });
}

void write_elements(DType dtype, const char* from, int64_t n, char* to, int64_t step) {
  if (step == 1 && compute_type(dtype) == dtype) {
    std::memcpy(to, from, static_cast<size_t>(n) * dtype_size(dtype));
    return;
  }
  with_float_type(dtype, [&](auto type, auto wide) {
    using Element = typename decltype(type)::type;
    const auto* source = reinterpret_cast<const decltype(wide)*>(from);
    auto* result = reinterpret_cast<Element*>(to);
    for (int64_t i = 0; i < n; i++) result[i * step] = Element(source[i]);
  });
}

void fill_lanes(const MicroKernels& mk, int vectors, double value, char* lanes) {
  int64_t n = vectors * mk.lanes;
  if (mk.element_bytes == 4) {
    std::fill_n(reinterpret_cast<float*>(lanes), n, static_cast<float>(value));
  } else {
    std::fill_n(reinterpret_cast<double*>(lanes), n, value);
  }
}

}  // namespace fl
