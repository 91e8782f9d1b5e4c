// Questions about dtypes as operators.
#include "runtime/promotion.h"

namespace fl {
namespace {

void result_type(const Call& call, Outputs& outputs) {
  Promotion promotion;
  for (int i = 0; i < 2; ++i) {
    if (call[i].is_tensor())
      promotion.add(*call[i].tensor());
    else
      promotion.add(call[i]);
  }
  outputs.emplace_back(promotion.result());
}

void can_cast_native(const Call& call, Outputs& outputs) {
  outputs.emplace_back(can_cast(call[0].dtype(), call[1].dtype()));
}

RegisterNative result_type_native("result_type", result_type);
RegisterNative can_cast_registered("can_cast", can_cast_native);

}  // namespace
}  // namespace fl
