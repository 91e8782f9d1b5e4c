// A tensor: storage, offset, sizes, strides, dtype. Autograd and Python hang their own data on it.
#pragma once
#include <cstring>
#include <initializer_list>
#include <memory>
#include <new>
#include <span>

#include "core/dtype.h"
#include "core/storage.h"

namespace fl {

using IntSpan = std::span<const int64_t>;

// A short list of sizes or strides: up to six inline, more on the heap.
class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> v) : Dims(IntSpan(v.begin(), v.size())) {}
  explicit Dims(IntSpan v) : Dims(v.size(), Uninitialised{}) {
    int64_t* to = data();
    for (size_t i = 0; i < v.size(); ++i) to[i] = v[i];
  }
  explicit Dims(int n, int64_t fill = 0) : Dims(static_cast<size_t>(n), Uninitialised{}) {
    int64_t* to = data();
    for (int i = 0; i < n; ++i) to[i] = fill;
  }
  Dims(const Dims& o) : Dims(IntSpan(o)) {}
  Dims(Dims&& o) noexcept : n_(o.n_) {
    std::memcpy(inline_, o.inline_, sizeof inline_);  // the pointer, where there is one, lies there too
    o.n_ = 0;
  }
  Dims& operator=(const Dims& o) {
    if (this != &o) *this = Dims(IntSpan(o));
    return *this;
  }
  Dims& operator=(Dims&& o) noexcept {
    if (this == &o) return *this;
    this->~Dims();
    return *new (this) Dims(std::move(o));
  }
  ~Dims() {
    if (n_ > kInline) delete[] heap_;
  }
  int size() const { return n_; }
  bool empty() const { return n_ == 0; }
  int64_t* data() { return n_ > kInline ? heap_ : inline_; }
  const int64_t* data() const { return n_ > kInline ? heap_ : inline_; }
  int64_t& operator[](int i) { return data()[i]; }
  int64_t operator[](int i) const { return data()[i]; }
  const int64_t* begin() const { return data(); }
  const int64_t* end() const { return data() + n_; }
  operator IntSpan() const { return {data(), static_cast<size_t>(n_)}; }
  bool operator==(const Dims& o) const;
  void push_back(int64_t v);
  void insert(int at, int64_t v);
  void erase(int at);

 private:
  struct Uninitialised {};
  Dims(size_t n, Uninitialised) : n_(static_cast<int>(n)) {
    if (n_ > kInline) heap_ = new int64_t[n];
  }

  static constexpr int kInline = 6;
  int n_ = 0;
  union {
    int64_t inline_[kInline];
    int64_t* heap_;
  };
};

// What autograd keeps of a tensor; defined in autograd/meta.h.
struct GradMetaBase {
  virtual ~GradMetaBase() = default;
  // For Python's garbage collector: calls `visit` on each Python object (hooks, contexts of functions) that is held by
  // what only this holds. Stops at the first result that is not 0 and returns it.
  virtual int visit_python(int (*)(void* object, void* arg), void*) const { return 0; }
};

// Flags that make a call leave the fast path (see bind/call.h). One test covers all.
enum TensorFlag : uint8_t {
  kIntercept = 1,  // a subclass that overrides __torch_function__
  kBatched = 2,    // inside vmap or a forward-mode level
  kSparse = 4,     // its elements are what the Python object holds (ops/sparse.py)
};

class Tensor final : public RefCounted {
 public:
  // Uninitialised and contiguous (or with the strides given).
  static Ref<Tensor> empty(IntSpan sizes, DType dtype, Device device = {});
  static Ref<Tensor> empty_strided(IntSpan sizes, IntSpan strides, DType dtype, Device device = {});
  // A view of `storage`; raises where it would leave the storage's bytes.
  static Ref<Tensor> make(Ref<Storage> storage, int64_t offset, Dims sizes, Dims strides, DType dtype);

  int dim() const { return sizes.size(); }
  int64_t numel() const { return numel_; }
  size_t itemsize() const { return dtype_size(dtype); }
  // Bytes between neighbours along a dimension. Where it has no two elements its stride may be any number: this wraps.
  int64_t byte_step(int d) const { return static_cast<int64_t>(static_cast<uint64_t>(strides[d]) * itemsize()); }
  Device device() const { return storage->device(); }
  bool is_meta() const { return storage->device().type == DeviceType::Meta; }
  bool is_contiguous() const { return contiguous_; }
  template <class T = char>
  T* data() const {  // address of the first element
    return reinterpret_cast<T*>(static_cast<char*>(storage->data()) + offset * static_cast<int64_t>(itemsize()));
  }
  // After sizes or strides were changed by hand.
  void refresh();

  uint32_t version() const { return own_version ? *own_version : storage->version; }
  void bump_version() { own_version ? ++*own_version : ++storage->version; }

  Ref<Storage> storage;
  int64_t offset = 0;  // in elements
  Dims sizes, strides;
  DType dtype = DType::F32;
  uint8_t flags = 0;            // TensorFlag
  bool requires_grad = false;   // true for leaves that ask and for results that have a grad_fn
  bool wrapped_number = false;  // came from a Python number: takes part in promotion weakly
  bool inference = false;
  std::shared_ptr<uint32_t> own_version;  // `.data`: shares the storage, not the version counter
  std::unique_ptr<GradMetaBase> grad_meta;
  void* py = nullptr;  // the Python object (bind/tensor_object.h), which may be owned by this tensor
  bool owns_py = false;

  static void* operator new(size_t) { return ObjectCache<Tensor>::take(); }
  static void operator delete(void* p) { ObjectCache<Tensor>::give(p); }

 private:
  Tensor() = default;
  ~Tensor() override = default;
  void destroy() override;  // releases an owned Python object through py_release

  int64_t numel_ = 0;
  bool contiguous_ = true;
};
using TensorRef = Ref<Tensor>;

// Set by bind: a dying tensor that owns its Python object is given back to the object, and both die (takes the GIL).
extern void (*py_release)(Tensor*);

Dims contiguous_strides(IntSpan sizes);
int64_t checked_numel(IntSpan sizes);  // raises on negative sizes and on overflow
// The strides PyTorch gives an elementwise result: the dense permutation of the operand that decides.
Dims result_strides(IntSpan sizes, std::span<Tensor* const> operands);
// The sizes of a broadcast; raises with PyTorch's sentence.
Dims broadcast_sizes(IntSpan a, IntSpan b);
int wrap_dim(int64_t dim, int ndim);  // negative dimensions; raises IndexError with PyTorch's sentence

}  // namespace fl
