// The extension module flambeau._core.
#include <nanobind/nanobind.h>

NB_MODULE(_core, m) {
  m.attr("__version__") = FLAMBEAU_VERSION;
}
