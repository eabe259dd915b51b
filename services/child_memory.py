"""How much memory a process holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MEASURABLE = Path("/proc/self/statm").exists()  # else a child must look after itself

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 if it is gone or the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            return int(stream.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def peak_bytes() -> int:
    """Return the most that this process ever held resident."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
