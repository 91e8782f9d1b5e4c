// NVIDIA's driver, opened when somebody first asks for it: there is no CUDA when the library is built.
#pragma once
#include <string>
#include <vector>

namespace fl {

struct CudaDriver {
  int version = 0;                   // as the driver counts: 12040 is CUDA 12.4; 0: there is no driver
  std::vector<std::string> devices;  // the names of what it drives
  std::string problem;               // why no tensor can live on a GPU; empty where one can
};

const CudaDriver& cuda_driver();

// Raises what a request for a GPU ends in.
[[noreturn]] void fail_without_cuda();

}  // namespace fl
