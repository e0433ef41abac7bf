"""Memory for training on a CPU: large pages, kept from one step to the next.

XLA's CPU client takes its buffers from malloc. Glibc gives large ones back to the system at once,
and a training step then spends much of its time on page faults. Its settings are read when a
process starts, so it is started again with them.
"""

import os
import sys

SETTINGS = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # transparent huge pages
    "MALLOC_MMAP_MAX_": "0",  # no mapping of its own for a large buffer ...
    "MALLOC_TRIM_THRESHOLD_": str(1 << 36),  # ... and nothing given back before 64 GiB
}


def restart_with_large_pages() -> None:
    """Replaces this process by itself with `SETTINGS`, where they help and nobody chose others.

    On Linux without an accelerator named by JAX_PLATFORMS; the process keeps its number.
    """
    chosen = any(name in os.environ for name in SETTINGS)
    if sys.platform != "linux" or chosen or os.environ.get("JAX_PLATFORMS", "cpu") != "cpu":
        return
    os.environ.update(SETTINGS)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
