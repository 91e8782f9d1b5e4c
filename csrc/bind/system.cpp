// Threads, memory and fork, as Python sees them.
#include "bind/kernels.h"
#include "core/allocator.h"
#include "core/platform.h"
#include "runtime/cuda_driver.h"
#include "runtime/kernel_table.h"
#include "runtime/pool.h"
#include "runtime/random.h"

namespace fl {
namespace {

PyObject* py_set_num_threads(PyObject*, PyObject* n) {
  return guarded([&]() -> PyObject* {
    if (!PyLong_Check(n)) raise(PyExc_RuntimeError, "set_num_threads expects an int, but got %s", Py_TYPE(n)->tp_name);
    long count = PyLong_AsLong(n);
    if (PyErr_Occurred()) throw PythonError{};
    if (count < 1) raise(PyExc_RuntimeError, "set_num_threads expects a positive integer");
    set_thread_count(static_cast<int>(count));
    Py_RETURN_NONE;
  });
}

PyObject* py_get_num_threads(PyObject*, PyObject*) { return PyLong_FromLong(thread_count()); }

PyObject* py_memory_stats(PyObject*, PyObject*) {
  MemoryStats s = memory_stats();
  return Py_BuildValue("{s:L,s:L,s:L,s:L}", "live_bytes", s.live_bytes, "peak_bytes", s.peak_bytes, "cached_bytes",
                       s.cached_bytes, "allocations", s.allocations);
}

PyObject* py_reset_peak_memory(PyObject*, PyObject*) {
  reset_peak_memory();
  Py_RETURN_NONE;
}

PyObject* py_empty_cache(PyObject*, PyObject*) {
  empty_cache();
  Py_RETURN_NONE;
}

PyObject* py_cuda_driver(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* {
    const CudaDriver& driver = cuda_driver();
    PyRef names = checked(PyList_New(0));
    for (const std::string& name : driver.devices) {
      PyRef text = checked(PyUnicode_FromString(name.c_str()));
      check_status(PyList_Append(names.get(), text.get()));
    }
    return Py_BuildValue("{s:i,s:O,s:s}", "version", driver.version, "devices", names.get(), "problem",
                         driver.problem.c_str());
  });
}

PyObject* py_fail_without_cuda(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* { fail_without_cuda(); });
}

void before_fork() {
  kernel_table_before_fork();
  random_before_fork();
  allocator_before_fork();
}

void after_fork_parent() {
  allocator_after_fork();
  random_after_fork();
  kernel_table_after_fork();
}

void after_fork_child() {
  after_fork_parent();
  pool_after_fork_child();
}

PyMethodDef methods[] = {
    {"set_num_threads", py_set_num_threads, METH_O, "set_num_threads(n): threads that one operator may use."},
    {"get_num_threads", py_get_num_threads, METH_NOARGS,
     "get_num_threads() -> int: threads that one operator may use."},
    {"memory_stats", py_memory_stats, METH_NOARGS,
     "memory_stats() -> dict: live, peak and cached bytes of CPU tensors, and blocks asked of the system."},
    {"reset_peak_memory", py_reset_peak_memory, METH_NOARGS, "reset_peak_memory(): the peak is what is live now."},
    {"empty_cache", py_empty_cache, METH_NOARGS, "empty_cache(): gives unused memory back to the system."},
    {"cuda_driver", py_cuda_driver, METH_NOARGS,
     "cuda_driver() -> dict: version and devices of NVIDIA's driver, and why no tensor can live on a GPU."},
    {"fail_without_cuda", py_fail_without_cuda, METH_NOARGS, "Raises what a request for a GPU ends in."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_system(PyObject* module) {
  check_status(PyModule_AddFunctions(module, methods));
  platform::on_fork(before_fork, after_fork_parent, after_fork_child);
}

}  // namespace fl
