// Convolutions whose kernel covers every pixel at most once (kernel = stride, no padding: the first layer of a vision
// transformer): patches become rows of a matrix, and everything is a product.
#pragma once
#include "runtime/contract/conv.h"

namespace fl {

bool patches_suit(const Conv& conv);
void patches_forward(const Conv& conv, const char* x, const void* w, const void* bias, char* y, Activation act);
void patches_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx);
void patches_backward_weight(const Conv& conv, const char* x, const char* dy, void* dw);

// The kernel is as large as the image: rows of a linear layer, nothing is copied.
bool whole_suits(const Conv& conv);
void whole_forward(const Conv& conv, const char* x, const void* w, const void* bias, char* y, Activation act);
void whole_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx);
void whole_backward_weight(const Conv& conv, const char* x, const char* dy, void* dw);

// The gradient of the input as a product, which gives what each patch adds, and a sum over patches that overlap: where
// they are so few that most pixels are padding to a convolution, or the input has few channels of many.
bool few_patches(const Conv& conv);
void few_patches_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx);

}  // namespace fl
