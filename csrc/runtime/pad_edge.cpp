// Elements of the tensor itself around its last dimensions: a reflection, the edge, or the other end. Rows of the input
// are copied; which elements stand at their ends is found once.
#include <algorithm>
#include <string>
#include <type_traits>
#include <vector>

#include "runtime/clones.h"
#include "runtime/copy.h"
#include "runtime/op.h"
#include "runtime/runs.h"

namespace fl {
namespace {

enum class Edge : uint8_t { Reflect, Replicate, Circular };

Edge edge_of(const std::string& mode) {
  return mode == "reflect" ? Edge::Reflect : mode == "replicate" ? Edge::Replicate : Edge::Circular;
}

// A padded dimension of `inside` elements, which begin `before` further on in the result; both may be cut off.
struct Axis {
  int64_t inside, outside, before;
  Edge edge;

  // What is seen at a place of the result.
  int64_t seen(int64_t place) const {
    const int64_t at = place - before, last = inside - 1;
    if (at >= 0 && at <= last) return at;
    if (edge == Edge::Replicate) return at < 0 ? 0 : last;
    if (edge == Edge::Circular) return at < 0 ? at + inside : at - inside;
    const int64_t back = at < 0 ? -at : at;
    return back > last ? 2 * last - back : back;
  }
};

// Rows along the last of three axes; `first` .. `end` of a row of the result lie in the order of the input.
struct Rows {
  Axis axes[3];
  int64_t first, end;
  std::vector<int64_t> ends;  // what is seen at the other places

  explicit Rows(const Axis (&given)[3]) : axes{given[0], given[1], given[2]} {
    const Axis& row = axes[2];
    first = std::clamp<int64_t>(row.before, 0, row.outside);
    end = std::clamp(row.before + row.inside, first, row.outside);
    for (int64_t j = 0; j < first; ++j) ends.push_back(row.seen(j));
    for (int64_t j = end; j < row.outside; ++j) ends.push_back(row.seen(j));
  }
};

// Rows of items of so many bytes: elements, or all channels of a place where these lie innermost.
template <class Bytes>
FL_INLINE void copy_rows(const Rows& rows, Bytes item, char* to, const char* from, int64_t begin, int64_t end) {
  const auto& [depth, height, width] = rows.axes;
  const int64_t inside = (rows.end - rows.first) * item;
  int64_t y = begin % height.outside, plane = begin / height.outside;
  char* out = to + begin * width.outside * item;
  for (int64_t left = end - begin; left > 0; ++plane, y = 0) {
    const int64_t z = plane % depth.outside, volume = plane / depth.outside;
    const char* first = from + (volume * depth.inside + depth.seen(z)) * height.inside * width.inside * item;
    for (; y < height.outside && left > 0; ++y, --left, out += width.outside * item) {
      const char* source = first + height.seen(y) * width.inside * item;
      const int64_t* seen = rows.ends.data();
      for (int64_t j = 0; j < rows.first; ++j) copy_run(out + j * item, source + *seen++ * item, item);
      copy_run(out + rows.first * item, source + (rows.first - width.before) * item, inside);
      for (int64_t j = rows.end; j < width.outside; ++j) copy_run(out + j * item, source + *seen++ * item, item);
    }
  }
}

FL_CLONES void copy_items(const Rows& rows, int64_t item, char* to, const char* from, int64_t begin, int64_t end) {
  auto copy = [&](auto bytes) __attribute__((always_inline)) { copy_rows(rows, bytes, to, from, begin, end); };
  switch (item) {
    case 1: return copy(std::integral_constant<int64_t, 1>{});
    case 2: return copy(std::integral_constant<int64_t, 2>{});
    case 4: return copy(std::integral_constant<int64_t, 4>{});
    case 8: return copy(std::integral_constant<int64_t, 8>{});
    case 16: return copy(std::integral_constant<int64_t, 16>{});
    default: return copy(item);
  }
}

constexpr int64_t kLongItem = 4 * kLine;  // longer ones are as well rows themselves

// pad_edge(self, pad, mode): up to three last dimensions; `pad` has the widths of the last one first, checked.
void pad_edge(const Call& call, Outputs& outputs) {
  TensorRef self = contiguous_tensor(call[0].tensor());
  IntSpan pad = call[1].ints();
  const Edge edge = edge_of(call[2].str());
  Dims sizes = self->sizes;
  auto item = static_cast<int64_t>(self->itemsize());
  const bool together = pad.size() > 2 && pad[0] == 0 && pad[1] == 0 && item * sizes[self->dim() - 1] <= kLongItem;
  if (together) item *= sizes[self->dim() - 1];
  Axis axes[3];
  for (int k = 0; k < 3; ++k) {
    const auto at = static_cast<size_t>(k + (together ? 1 : 0));
    const int d = self->dim() - 1 - static_cast<int>(at);
    const bool padded = 2 * at + 1 < pad.size() && d >= 0;
    const int64_t before = padded ? pad[2 * at] : 0, after = padded ? pad[2 * at + 1] : 0;
    const int64_t inside = padded ? sizes[d] : 1;
    axes[2 - k] = {inside, inside + before + after, before, edge};
    if (padded) sizes[d] = inside + before + after;
  }
  TensorRef out = Tensor::empty(sizes, self->dtype, self->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  const Rows rows(axes);
  const int64_t bytes = out->numel() * static_cast<int64_t>(out->itemsize()), row = axes[2].outside * item;
  const int64_t count = bytes / row, piece = std::max<int64_t>(1, kPieceBytes / row);
  share_pieces((count + piece - 1) / piece, bytes, [&](int64_t p) {
    copy_items(rows, item, out->data(), self->data(), p * piece, std::min(count, (p + 1) * piece));
  });
}

RegisterNative native("pad_edge", pad_edge);

}  // namespace
}  // namespace fl
