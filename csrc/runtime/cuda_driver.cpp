#include "runtime/cuda_driver.h"

#include "core/error.h"
#include "core/platform.h"

namespace fl {
namespace {

constexpr int kNoDevice = 100;

// The few functions of the driver that are needed to say what is there.
struct Api {
  int (*init)(unsigned);
  int (*version)(int*);
  int (*device_count)(int*);
  int (*device_get)(int*, int);
  int (*device_name)(char*, int, int);

  template <class F>
  static bool load(void* library, const char* name, F& function) {
    function = reinterpret_cast<F>(platform::library_symbol(library, name));
    return function != nullptr;
  }
  bool load_from(void* library) {
    return load(library, "cuInit", init) && load(library, "cuDriverGetVersion", version) &&
           load(library, "cuDeviceGetCount", device_count) && load(library, "cuDeviceGet", device_get) &&
           load(library, "cuDeviceGetName", device_name);
  }
};

std::vector<std::string> device_names(const Api& api) {
  std::vector<std::string> names;
  int count = 0, device;
  if (api.device_count(&count) != 0) return names;
  for (int i = 0; i < count; ++i) {
    char name[128] = "unknown";
    if (api.device_get(&device, i) == 0) api.device_name(name, sizeof name, device);
    names.emplace_back(name);
  }
  return names;
}

CudaDriver probe() {
  CudaDriver driver;
  void* library = platform::open_library("libcuda.so.1");
  if (!library) {
    driver.problem = "there is no NVIDIA driver: " + platform::library_error();
    return driver;
  }
  Api api;
  if (!api.load_from(library)) {
    driver.problem = "libcuda.so.1 is not NVIDIA's driver: it lacks its functions";
    return driver;
  }
  api.version(&driver.version);
  int status = api.init(0);
  if (status == 0) driver.devices = device_names(api);
  if (status != 0 && status != kNoDevice)
    driver.problem = "NVIDIA's driver does not start: cuInit gives error " + std::to_string(status);
  else if (driver.devices.empty())
    driver.problem = "NVIDIA's driver finds no GPU";
  else
    driver.problem = "this version of Flambeau computes on the CPU only";
  return driver;
}

}  // namespace

const CudaDriver& cuda_driver() {
  static const CudaDriver driver = probe();
  return driver;
}

void fail_without_cuda() {
  const CudaDriver& driver = cuda_driver();
  const char* sentence = driver.version == 0
                             ? "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and "
                               "installed a driver from http://www.nvidia.com/Download/index.aspx"
                         : driver.devices.empty() ? "No CUDA GPUs are available"
                                                  : "Torch not compiled with CUDA enabled";
  fail(driver.devices.empty() ? ErrorKind::Runtime : ErrorKind::Assertion,
       "%s [%s]. Use device='cpu'; `flambeau doctor` says what this machine has", sentence, driver.problem.c_str());
}

}  // namespace fl
