// Calling operators by name from C++.
#pragma once
#include <initializer_list>

#include "autograd/node.h"

namespace fl {

// A name that is looked up at the first call. The overload is the first whose parameters take the kinds of arguments
// given; later calls through the same object must give the same kinds.
class OpRef {
 public:
  explicit constexpr OpRef(const char* name) : name_(name) {}
  TensorRef operator()(std::initializer_list<Value> args) const;
  void call(std::initializer_list<Value> args, Outputs& outputs) const;

 private:
  const char* name_;
  mutable const Overload* overload_ = nullptr;
};

}  // namespace fl
