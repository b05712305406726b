"""The NVIDIA GPUs that this process may use, as CUDA's driver tells them."""

import ctypes
import functools
from collections import Counter

DRIVER = "libcuda.so.1"


@functools.cache
def names() -> tuple[str, ...]:
    """The name of each; none without a driver. CUDA_VISIBLE_DEVICES hides some, -1 all of them."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    found = []
    for number in range(count.value):
        device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceGetName(name, len(name), device)
        found.append(name.value.decode(errors="replace"))
    return tuple(found)


def described() -> str:
    """As a person reads them: "2 x NVIDIA A100-SXM4-40GB"; empty where there are none."""
    counts = Counter(names())
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())
