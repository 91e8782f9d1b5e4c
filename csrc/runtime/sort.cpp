// The order of rows: stable sorting, and elements chosen by their rank.
//
// What is compared is an integer, the key of an element: nan is above all, zeros of both signs have one key. A key and
// the position of its element make an item. No two items are equal, so a result depends neither on how it is found nor
// on how many threads look for it, and equal elements stand in their order.
#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

#include "core/allocator.h"
#include "core/element.h"
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/few_items.h"
#include "runtime/pool.h"

namespace fl {
namespace {

constexpr int64_t kShort = 128;        // items that are sorted by comparing them
constexpr int64_t kShortest = 10;      // items of a row in which equal ones are told apart as in PyTorch
constexpr int64_t kFewest = 5;         // items that are not sorted to find one
constexpr int kMostPasses = 64;        // of halving, before a way that is quick for whatever order
constexpr int64_t kTaskItems = 16384;  // of one task, where rows are short
constexpr int64_t kLong = 1 << 16;     // items of a chunk, where a row is cut into chunks
constexpr int64_t kMostChunks = 64;
constexpr int64_t kFew = 4096;  // items of a longer row that are gathered and then sorted by comparing them
constexpr int64_t kBlock = 16;  // elements that are looked at together

template <class T>
auto key_of(T x) {
  if constexpr (std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
    return key_of(static_cast<float>(x));
  } else if constexpr (std::is_floating_point_v<T>) {
    using Key = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    constexpr Key sign = Key{1} << (std::numeric_limits<Key>::digits - 1);
    Key bits = std::bit_cast<Key>(x + T(0));
    Key ordered = bits ^ (Key(-(bits >> (std::numeric_limits<Key>::digits - 1))) | sign);
    return ordered | -Key{x != x};
  } else if constexpr (sizeof(T) == 8) {
    return static_cast<uint64_t>(x) ^ (std::is_signed_v<T> ? uint64_t{1} << 63 : 0);
  } else {
    return static_cast<uint32_t>(x) ^ (std::is_signed_v<T> ? uint32_t{1} << 31 : 0);
  }
}

template <class Key>
using ItemOf = std::conditional_t<sizeof(Key) == 8, unsigned __int128, uint64_t>;
template <class Item>
constexpr int kPositionBits = 4 * sizeof(Item);  // the lower half; keys are as wide

template <class Item>
int64_t position_of(Item item) {
  return static_cast<int64_t>(item & (~Item{0} >> kPositionBits<Item>));
}

// A row as items. Keys count from the least one of the row and have so many bits; the last elements may be nan.
template <class Item, class KeyAt>
struct Row {
  KeyAt key_at;
  int64_t n, numbers;
  int bits;

  static Item item(Item key, int64_t i) { return key << kPositionBits<Item> | static_cast<Item>(i); }
  Item operator[](int64_t i) const { return item(key_at(i), i); }
};

// Loops over blocks have a length that compilers know, and turn into vectors.
template <class T>
int64_t count_numbers(const T* x, int64_t n) {
  int64_t numbers = 0, i = 0;
  for (; i + kBlock <= n; i += kBlock)
    for (int64_t k = 0; k < kBlock; ++k) numbers += x[i + k] == x[i + k];
  for (; i < n; ++i) numbers += x[i] == x[i];
  return numbers;
}

template <class Item, class KeyAt>
void copy_items(const Row<Item, KeyAt>& row, Item* items) {
  int64_t i = 0;
  for (; i + kBlock <= row.n; i += kBlock) {
    decltype(row.key_at(0)) keys[kBlock];
    for (int64_t k = 0; k < kBlock; ++k) keys[k] = row.key_at(i + k);
    for (int64_t k = 0; k < kBlock; ++k) items[i + k] = row.item(keys[k], i + k);
  }
  for (; i < row.n; ++i) items[i] = row[i];
}

template <class KeyAt>
auto key_span(const KeyAt& key_at, int64_t n) {
  constexpr int64_t kPart = 16;
  using Key = decltype(key_at(0));
  Key low[kPart], high[kPart];
  std::fill_n(low, kPart, std::numeric_limits<Key>::max());
  std::fill_n(high, kPart, Key{0});
  auto meet = [&](int64_t k, Key key) {
    low[k] = std::min(low[k], key);
    high[k] = std::max(high[k], key);
  };
  int64_t i = 0;
  for (; i + kPart <= n; i += kPart)
    for (int64_t k = 0; k < kPart; ++k) meet(k, key_at(i + k));
  for (; i < n; ++i) meet(0, key_at(i));
  return std::pair{*std::min_element(low, low + kPart), *std::max_element(high, high + kPart)};
}

// Calls fn(row) for a row of at least one element.
template <class T, class F>
void with_row(const T* x, int64_t n, bool descending, F&& fn) {
  using Key = decltype(key_of(T{}));
  const Key flip = descending ? ~Key{0} : Key{0};
  auto key_at = [x, flip](int64_t i) -> Key { return key_of(x[i]) ^ flip; };
  int64_t numbers = n;
  if constexpr (sizeof(Key) == 4) {
    if (n <= kShort) {  // how far apart keys lie makes no difference
      return fn(Row<uint64_t, decltype(key_at)>{key_at, n, count_numbers(x, n), 32});
    }
  }
  const auto [low, high] = key_span(key_at, n);
  const Key least = low;
  if (!std::is_integral_v<T> && high == static_cast<Key>(~flip)) numbers = count_numbers(x, n);
  int bits = std::bit_width(static_cast<Key>(high - low));
  auto narrow = [=](int64_t i) { return static_cast<uint32_t>(key_at(i) - least); };
  auto wide = [=](int64_t i) { return static_cast<uint64_t>(key_at(i) - least); };
  if (bits <= 32 && n <= std::numeric_limits<uint32_t>::max())
    fn(Row<uint64_t, decltype(narrow)>{narrow, n, numbers, bits});
  else
    fn(Row<unsigned __int128, decltype(wide)>{wide, n, numbers, bits});
}

int64_t chunks_of(int64_t n) { return std::clamp<int64_t>(n / kLong, 1, kMostChunks); }

// Calls fn(chunk, begin, end).
template <class F>
void each_chunk(int64_t n, int64_t chunks, F&& fn) {
  parallel_for(chunks, [&](int64_t c) { fn(c, n * c / chunks, n * (c + 1) / chunks); });
}

// ---- sorting

// Counts of digits, [chunk][digit], become the places where each chunk's items with a digit begin.
void place_digits(std::vector<int64_t>& counts, int64_t digits, int64_t chunks) {
  int64_t total = 0;
  for (int64_t d = 0; d < digits; ++d)
    for (int64_t c = 0; c < chunks; ++c) total += std::exchange(counts[static_cast<size_t>(c * digits + d)], total);
}

// Sorts by the lowest `bits` of the keys; the items are in the order of their positions. From the lowest digit up.
template <class Item>
void sort_by_digits(Item* items, int64_t n, int bits) {
  constexpr int kDigitBits = 8;
  constexpr int64_t kDigits = 1 << kDigitBits;
  Scratch scratch(static_cast<size_t>(n) * sizeof(Item));
  Item *from = items, *to = scratch.as<Item>();
  int64_t chunks = chunks_of(n);
  std::vector<int64_t> counts(static_cast<size_t>(chunks * kDigits));
  for (int shift = kPositionBits<Item>; shift < kPositionBits<Item> + bits; shift += kDigitBits) {
    auto digit = [shift](Item item) { return static_cast<size_t>(item >> shift) & (kDigits - 1); };
    std::ranges::fill(counts, 0);
    each_chunk(n, chunks, [&](int64_t c, int64_t begin, int64_t end) {
      int64_t* count = &counts[static_cast<size_t>(c * kDigits)];
      for (int64_t i = begin; i < end; ++i) ++count[digit(from[i])];
    });
    place_digits(counts, kDigits, chunks);
    each_chunk(n, chunks, [&](int64_t c, int64_t begin, int64_t end) {
      int64_t* place = &counts[static_cast<size_t>(c * kDigits)];
      for (int64_t i = begin; i < end; ++i) to[place[digit(from[i])]++] = from[i];
    });
    std::swap(from, to);
  }
  if (from != items) std::copy_n(from, n, items);
}

template <class Item>
void sort_items(Item* items, int64_t n, int bits) {
  if (n <= kShort)
    std::sort(items, items + n);
  else
    sort_by_digits(items, n, bits);
}

// ---- choosing

// The item of a rank (counted from 0) among items in the order of their positions that agree above the lowest `bits` of
// their keys; reorders them.
template <class Item>
Item chosen(Item* items, int64_t n, int64_t rank, int bits) {
  constexpr int kDigitBits = 8;
  constexpr int64_t kDigits = 1 << kDigitBits;
  while (n > kShort && bits > 0) {
    int shift = kPositionBits<Item> + std::max(bits - kDigitBits, 0);
    auto digit = [shift](Item item) { return static_cast<size_t>(item >> shift) & (kDigits - 1); };
    int64_t counts[kDigits] = {};
    for (int64_t i = 0; i < n; ++i) ++counts[digit(items[i])];
    size_t wanted = 0;
    for (; rank >= counts[wanted]; ++wanted) rank -= counts[wanted];
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      Item item = items[i];
      items[kept] = item;
      kept += digit(item) == wanted;
    }
    n = kept;
    bits = std::max(bits - kDigitBits, 0);
  }
  if (bits == 0) return items[rank];
  std::nth_element(items, items + rank, items + n);
  return items[rank];
}

// The same, by halves around an item that stands near the middle of nine: no branch depends on how items compare.
// There is memory for kFewItems.
template <class Item>
Item chosen_by_halves(Item* items, Item* other, int64_t n, int64_t rank) {
  constexpr bool counts = sizeof(Item) == sizeof(uint64_t);
  constexpr int64_t few = counts ? kFewItems : 8;
  auto middle = [](Item a, Item b, Item c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); };
  for (int passes = 0; n > few && passes < kMostPasses; ++passes) {
    auto near = [&](int64_t k) { return middle(items[n * k / 9], items[n * (k + 1) / 9], items[n * (k + 2) / 9]); };
    const Item pivot = middle(near(0), near(3), near(6));
    int64_t less = 0, more = 0;
    for (int64_t i = 0; i < n; ++i) {
      const Item item = items[i];
      const bool below = item < pivot;
      items[less] = other[more] = item;
      less += below;
      more += !below;
    }
    const bool below = rank < less;
    n = below ? less : more;
    if (below) continue;
    rank -= less;
    std::swap(items, other);
  }
  if constexpr (counts)
    if (kFewest <= n && n <= few) return item_of_rank(items, n, rank);
  std::nth_element(items, items + rank, items + n);
  return items[rank];
}

// The item of a rank in a row. Those that share its key's highest bits are gathered first.
template <class Item, class KeyAt>
Item chosen(const Row<Item, KeyAt>& row, int64_t rank) {
  const int64_t n = row.n;
  if (n <= kTaskItems) {
    Item near[2 * kShort];
    Scratch scratch(n <= kShort ? 0 : static_cast<size_t>(2 * n) * sizeof(Item));
    Item* items = n <= kShort ? near : scratch.as<Item>();
    copy_items(row, items);
    return chosen_by_halves(items, items + n, n, rank);
  }
  const int digit_bits = std::min(row.bits, 11), shift = row.bits - digit_bits;
  const int64_t digits = int64_t{1} << digit_bits, chunks = chunks_of(n);
  auto digit = [&](int64_t i) { return static_cast<size_t>(row.key_at(i) >> shift); };
  std::vector<int64_t> counts(static_cast<size_t>(chunks * digits));
  each_chunk(n, chunks, [&](int64_t c, int64_t begin, int64_t end) {
    int64_t* count = &counts[static_cast<size_t>(c * digits)];
    for (int64_t i = begin; i < end; ++i) ++count[digit(i)];
  });
  size_t wanted = 0;
  int64_t found = 0;
  auto count_of = [&](int64_t c) -> int64_t& { return counts[static_cast<size_t>(c * digits) + wanted]; };
  for (;; ++wanted, rank -= found) {
    found = 0;
    for (int64_t c = 0; c < chunks; ++c) found += count_of(c);
    if (rank < found) break;
  }
  int64_t total = 0;
  for (int64_t c = 0; c < chunks; ++c) total += std::exchange(count_of(c), total);
  Scratch scratch(static_cast<size_t>(found + chunks) * sizeof(Item));  // each chunk writes one item too many
  each_chunk(n, chunks, [&](int64_t c, int64_t begin, int64_t end) {
    Item* to = scratch.as<Item>() + count_of(c) + c;
    for (int64_t i = begin; i < end; ++i) {
      *to = row[i];
      to += digit(i) == wanted;
    }
  });
  Item* items = scratch.as<Item>();
  for (int64_t c = 1; c < chunks; ++c) {
    int64_t end = c + 1 < chunks ? count_of(c + 1) : found;
    std::copy(items + count_of(c) + c, items + end + c, items + count_of(c));
  }
  return chosen(items, found, rank, shift);
}

// The place of a rank in a row of at most kShortest elements; rows of so few are halved around the median of three in
// Hoare's way, because that chooses the position among equal elements that PyTorch chooses.
template <class Item, class KeyAt>
Item chosen_of_few(const Row<Item, KeyAt>& row, int64_t rank) {
  Item items[kShortest];
  for (int64_t i = 0; i < row.n; ++i) items[i] = row[i];
  auto above = [&](int64_t i, int64_t j) { return items[i] >> kPositionBits<Item> > items[j] >> kPositionBits<Item>; };
  auto in_order = [&](int64_t i, int64_t j) {
    if (above(i, j)) std::swap(items[i], items[j]);
  };
  int64_t left = 0, right = row.n - 1;
  while (right > left + 1) {
    std::swap(items[left + (right - left) / 2], items[left + 1]);
    in_order(left + 1, right);
    in_order(left, right);
    in_order(left + 1, left);
    int64_t i = left + 1, j = right;
    for (;;) {
      while (above(left, ++i)) {}
      while (above(--j, left)) {}
      if (j < i) break;
      std::swap(items[i], items[j]);
    }
    std::swap(items[left], items[j]);
    if (j <= rank) left = i;
    if (j >= rank) right = j - 1;
  }
  if (right == left + 1) in_order(left, right);
  return items[rank];
}

// ---- one row

// Where the most frequent element stands last, the least of several; nan equals nothing.
template <class Item, class KeyAt>
int64_t most_frequent(const Row<Item, KeyAt>& row) {
  Item near[kShort];
  Scratch scratch(row.n <= kShort ? 0 : static_cast<size_t>(row.n) * sizeof(Item));
  Item* items = row.n <= kShort ? near : scratch.as<Item>();
  copy_items(row, items);
  sort_items(items, row.n, row.bits);
  int64_t most = 0, found = 0, count = 0;
  for (int64_t i = 0; i < row.n; ++i) {
    bool goes_on = i && i < row.numbers && (items[i] ^ items[i - 1]) >> kPositionBits<Item> == 0;
    count = goes_on ? count + 1 : 1;
    if (count > most) found = i;
    most = std::max(most, count);
  }
  return position_of(items[found]);
}

// Gathers the `most` least items of a row, in no order; there is room for twice as many and a block. When it is full,
// the greater half goes, and from then on nothing is taken that is above the rest.
template <class Item, class KeyAt>
void gather_least(const Row<Item, KeyAt>& row, int64_t most, Item* items) {
  Item last = ~Item{0};
  int64_t kept = 0;
  auto shorten = [&] {
    std::nth_element(items, items + most - 1, items + kept);
    last = items[most - 1];
    kept = most;
  };
  auto take = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      items[kept] = row[i];
      kept += items[kept] <= last;
    }
    if (kept >= 2 * most) shorten();
  };
  int64_t i = 0;
  for (; i + kBlock <= row.n; i += kBlock) {
    decltype(row.key_at(0)) keys[kBlock];
    for (int64_t k = 0; k < kBlock; ++k) keys[k] = row.key_at(i + k);
    for (int64_t half = kBlock / 2; half; half /= 2)
      for (int64_t k = 0; k < half; ++k) keys[k] = std::min(keys[k], keys[k + half]);
    if (Item{keys[0]} << kPositionBits<Item> <= last) take(i, i + kBlock);
  }
  take(i, row.n);
  shorten();
}

// Where the first `most` elements of the sorted row stand.
template <class Item, class KeyAt>
void order_row(const Row<Item, KeyAt>& row, int64_t most, int64_t* out) {
  const int64_t n = row.n;
  const bool some = most < n / 8, few = some && most <= kFew;  // else it is quicker to sort all
  const Item last = some && !few ? chosen(row, most - 1) : ~Item{0};
  const int64_t count = some ? most : n, room = few ? 2 * most + kBlock : count + 1;
  Item near[kShort + 1];
  Scratch scratch(room <= kShort + 1 ? 0 : static_cast<size_t>(room) * sizeof(Item));
  Item* items = room <= kShort + 1 ? near : scratch.as<Item>();
  if (few) {
    gather_least(row, most, items);
    std::sort(items, items + most);
  } else if (some) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      Item item = row[i];
      items[kept] = item;
      kept += item <= last;
    }
  } else {
    each_chunk(n, chunks_of(n), [&](int64_t, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) items[i] = row[i];
    });
  }
  if (!few) sort_items(items, count, row.bits);
  for (int64_t i = 0; i < most; ++i) out[i] = position_of(items[i]);
}

// ---- all rows

// Calls fn(row, out) for the rows along the last dimension, at least one element each; out is `width` wide.
template <class F>
void each_row(const Tensor& x, bool descending, int64_t* out, int64_t width, F&& fn) {
  const int64_t n = x.dim() ? x.sizes[x.dim() - 1] : 1, rows = x.numel() / n;
  with_element_type(x.dtype, [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
      fail(ErrorKind::Runtime, "complex numbers have no order");
    } else {
      const T* data = x.data<T>();
      auto one = [&](int64_t r) {
        with_row(data + r * n, n, descending, [&](const auto& row) { fn(row, out + r * width); });
      };
      LongWork quiet(x.numel() >= 2048);
      if (n >= 2 * kLong && rows < 8) {  // the rows themselves are cut
        for (int64_t r = 0; r < rows; ++r) one(r);
        return;
      }
      const int64_t together = std::max<int64_t>(1, kTaskItems / n);
      parallel_for((rows + together - 1) / together, [&](int64_t task) {
        for (int64_t r = task * together; r < std::min(rows, (task + 1) * together); ++r) one(r);
      });
    }
  });
}

// A view with a dimension and the last one exchanged.
TensorRef with_last(const Tensor& t, int dim) {
  Dims sizes = t.sizes, strides = t.strides;
  int last = t.dim() - 1;
  if (last > 0) {
    std::swap(sizes[dim], sizes[last]);
    std::swap(strides[dim], strides[last]);
  }
  return Tensor::make(t.storage, t.offset, sizes, strides, t.dtype);
}

// Positions along a dimension of `width` elements of each row, which fn(row, out) finds. self and dim lead the
// arguments.
template <class F>
void give_positions(const Call& call, Outputs& outputs, bool descending, int64_t width, F&& fn) {
  Tensor* self = call[0].tensor();
  int dim = wrap_dim(call[1].as_int(), self->dim());
  bool last = self->dim() == 0 || dim == self->dim() - 1;
  Dims sizes = self->sizes;
  if (self->dim()) sizes[dim] = width;
  if (self->is_meta() || self->numel() == 0 || width == 0)
    return (void)outputs.emplace_back(Tensor::empty(sizes, DType::I64, self->device()));
  TensorRef x = contiguous_tensor(last ? self : with_last(*self, dim).get());
  if (!last) std::swap(sizes[dim], sizes[sizes.size() - 1]);
  TensorRef out = Tensor::empty(sizes, DType::I64);
  each_row(*x, descending, out->data<int64_t>(), width, fn);
  outputs.emplace_back(last ? out : clone_tensor(with_last(*out, dim).get(), MemoryFormat::Contiguous));
}

int64_t row_length(const Call& call) {
  const Tensor& x = *call[0].tensor();
  return x.dim() ? x.sizes[wrap_dim(call[1].as_int(), x.dim())] : 1;
}

// order_rows(self, dim, descending, most)
void order_rows(const Call& call, Outputs& outputs) {
  int64_t most = call[3].as_int(), n = row_length(call);
  FL_CHECK(0 <= most && most <= n, ErrorKind::Runtime, "%lld positions of rows of %lld elements",
           static_cast<long long>(most), static_cast<long long>(n));
  give_positions(call, outputs, call[2].as_bool(), most,
                 [most](const auto& row, int64_t* out) { order_row(row, most, out); });
}

// ranked_rows(self, dim, rank)
void ranked_rows(const Call& call, Outputs& outputs) {
  int64_t rank = call[2].as_int(), n = row_length(call);
  FL_CHECK(0 <= rank && rank < n, ErrorKind::Runtime, "rank %lld in rows of %lld elements",
           static_cast<long long>(rank), static_cast<long long>(n));
  give_positions(call, outputs, false, 1, [rank](const auto& row, int64_t* out) {
    *out = position_of(row.n <= kShortest ? chosen_of_few(row, rank) : chosen(row, rank));
  });
}

// mode_rows(self, dim)
void mode_rows(const Call& call, Outputs& outputs) {
  FL_CHECK(row_length(call), ErrorKind::Runtime, "the mode of rows without elements");
  give_positions(call, outputs, false, 1, [](const auto& row, int64_t* out) { *out = most_frequent(row); });
}

// median_rows(self, dim, skip_nan): the lower of two; the first nan of a row that has one, unless those are skipped.
void median_rows(const Call& call, Outputs& outputs) {
  bool skip_nan = call[2].as_bool();
  FL_CHECK(row_length(call), ErrorKind::Runtime, "the median of rows without elements");
  give_positions(call, outputs, false, 1, [skip_nan](const auto& row, int64_t* out) {
    int64_t middle = std::max<int64_t>(row.numbers - 1, 0) / 2;
    *out = position_of(chosen(row, skip_nan || row.numbers == row.n ? middle : row.numbers));
  });
}

RegisterNative natives[] = {
    {"order_rows", order_rows}, {"ranked_rows", ranked_rows}, {"median_rows", median_rows}, {"mode_rows", mode_rows}};

}  // namespace
}  // namespace fl
