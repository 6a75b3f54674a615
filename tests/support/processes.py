"""What the kernel says of a process."""

import os
from pathlib import Path


def cpu_s(pid: int) -> float:
    """User and system time that it has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
