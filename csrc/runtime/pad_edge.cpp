// Elements of the tensor itself around its last dimensions: a reflection, the edge, or the other end. Rows of the input
// are copied; which elements stand at their ends is found once.
#include <algorithm>
#include <string>
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

template <class T>
FL_INLINE void copy_rows(const Rows& rows, T* to, const T* from, int64_t begin, int64_t end) {
  const auto& [depth, height, width] = rows.axes;
  const int64_t inside = (rows.end - rows.first) * static_cast<int64_t>(sizeof(T));
  int64_t y = begin % height.outside, plane = begin / height.outside;
  T* out = to + begin * width.outside;
  for (int64_t left = end - begin; left > 0; ++plane, y = 0) {
    const int64_t z = plane % depth.outside, volume = plane / depth.outside;
    const T* first = from + (volume * depth.inside + depth.seen(z)) * height.inside * width.inside;
    for (; y < height.outside && left > 0; ++y, --left, out += width.outside) {
      const T* source = first + height.seen(y) * width.inside;
      const int64_t* seen = rows.ends.data();
      for (int64_t j = 0; j < rows.first; ++j) out[j] = source[*seen++];
      copy_run(reinterpret_cast<char*>(out + rows.first),
               reinterpret_cast<const char*>(source + (rows.first - width.before)), inside);
      for (int64_t j = rows.end; j < width.outside; ++j) out[j] = source[*seen++];
    }
  }
}

struct Wide {
  uint64_t parts[2];
};

FL_CLONES void copy_items(size_t item, const Rows& rows, char* to, const char* from, int64_t begin, int64_t end) {
  auto copy = [&]<class T>(T) __attribute__((always_inline)) {
    copy_rows(rows, reinterpret_cast<T*>(to), reinterpret_cast<const T*>(from), begin, end);
  };
  switch (item) {
    case 1: return copy(uint8_t{});
    case 2: return copy(uint16_t{});
    case 4: return copy(uint32_t{});
    case 8: return copy(uint64_t{});
    default: return copy(Wide{});
  }
}

// pad_edge(self, pad, mode): up to three last dimensions; `pad` has the widths of the last one first, checked.
void pad_edge(const Call& call, Outputs& outputs) {
  TensorRef self = contiguous_tensor(call[0].tensor());
  IntSpan pad = call[1].ints();
  const Edge edge = edge_of(call[2].str());
  Dims sizes = self->sizes;
  Axis axes[3];
  for (int k = 0; k < 3; ++k) {
    const int d = self->dim() - 1 - k;
    const bool padded = static_cast<size_t>(2 * k + 1) < pad.size() && d >= 0;
    const int64_t before = padded ? pad[static_cast<size_t>(2 * k)] : 0;
    const int64_t after = padded ? pad[static_cast<size_t>(2 * k + 1)] : 0, inside = padded ? sizes[d] : 1;
    axes[2 - k] = {inside, inside + before + after, before, edge};
    if (padded) sizes[d] = inside + before + after;
  }
  TensorRef out = Tensor::empty(sizes, self->dtype, self->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  const Rows rows(axes);
  const int64_t count = out->numel() / axes[2].outside, bytes = out->numel() * static_cast<int64_t>(out->itemsize());
  const int64_t together = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, bytes / count));
  share_pieces((count + together - 1) / together, bytes, [&](int64_t p) {
    copy_items(out->itemsize(), rows, out->data(), self->data(), p * together, std::min(count, (p + 1) * together));
  });
}

RegisterNative native("pad_edge", pad_edge);

}  // namespace
}  // namespace fl
