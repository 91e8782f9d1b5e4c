"""What the operating system says about this machine; every answer may be missing."""

import ctypes
import os
import platform
import subprocess
from pathlib import Path

from flambeau.codegen.target import cpu_flags

# The instruction sets that kernels may use, by the names in /proc/cpuinfo.
INSTRUCTION_SETS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "avx512_vnni",
    "avx512_fp16", "amx_bf16", "asimd", "asimdhp", "bf16", "sve", "sve2", "i8mm",
)  # fmt: skip


def read(path: str) -> str:
    """A small file's text, empty where it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def cpu_field(*names: str) -> str:
    """The first line of /proc/cpuinfo with one of these names."""
    for line in read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


def sysctl(name: str) -> str:
    if platform.system() != "Darwin":
        return ""
    done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def cpu_name() -> str:
    return cpu_field("model name") or sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()


def instruction_sets() -> list[str]:
    """Those of INSTRUCTION_SETS that this CPU has."""
    return [name for name in INSTRUCTION_SETS if name in cpu_flags()]


def usable_cpus() -> str:
    """How many CPUs this process may use, and why fewer than there are."""
    count = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    text = f"{allowed} of {count}" if allowed < count else str(count)
    quota, _, period = read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.isdigit():
        text += f", a quota of {int(quota) / int(period):.1f} (cgroup)"
    return text


def caches() -> str:
    """Data caches of the first CPU."""
    found = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if read(f"{index}/type") in ("Data", "Unified"):
            found.append(f"L{read(f'{index}/level')} {read(f'{index}/size')}")
    return ", ".join(found)


def memory() -> str:
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            return f"{int(line.split()[1]) / 2**20:.1f} GiB"
    size = sysctl("hw.memsize")
    return f"{int(size) / 2**30:.1f} GiB" if size.isdigit() else ""


def gpu() -> str:
    """What stands between this process and an NVIDIA GPU, or the driver's version."""
    if platform.system() == "Darwin":
        return "none: CUDA does not exist on macOS"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        if list(Path("/dev").glob("nvidia[0-9]*")):
            return "none: there is a device, but libcuda.so.1 (the NVIDIA driver's library) is not installed here"
        return "none: no NVIDIA driver (libcuda.so.1 is not installed) and no device in /dev"
    status = driver.cuInit(0)
    if status:
        return f"none: the driver is installed but cuInit says error {status} ({CUDA_ERRORS.get(status, 'see cuda.h')})"
    count, version = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    driver.cuDriverGetVersion(ctypes.byref(version))
    names = [gpu_name(driver, index) for index in range(count.value)]
    return f"{', '.join(names) or 'none'} (driver for CUDA {version.value // 1000}.{version.value % 1000 // 10})"


CUDA_ERRORS = {100: "no device", 101: "invalid device", 803: "driver and library do not match", 999: "unknown"}


def gpu_name(driver: ctypes.CDLL, index: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    return name.value.decode(errors="replace")
