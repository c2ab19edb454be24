"""What the kernel says about a process, and about the machine while one measures."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Processor time of all live threads of a process, to the nanosecond."""
    total = 0
    for stat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(stat.read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue
    return total / 1e9


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"process {pid} has no {key}")


def resident(pid: int) -> int:
    """Bytes that a process has in memory now."""
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most bytes it had in memory since ``forget_peak``."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """Begin a new peak from what it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def settled(pid: int, within: float = 10.0) -> None:
    """Wait until a process has done what it had to do: less than 1 % of a core for 0.2 s."""
    end = time.monotonic() + within
    before = cpu_seconds(pid)
    while time.monotonic() < end:
        time.sleep(0.2)
        now = cpu_seconds(pid)
        if now - before < 0.002:
            return
        before = now


class Disturbance:
    """Who else used the machine while this object lived."""

    def __init__(self) -> None:
        self._busy, self._stolen, self._total = _machine_time()
        self._own = _own_time()

    def shares(self) -> tuple[float, float]:
        """Share of the machine's time that others used, and that the hypervisor took."""
        busy, stolen, total = _machine_time()
        passed = max(total - self._total, 1e-9)
        others = (busy - self._busy) - (_own_time() - self._own)
        return max(0.0, others / passed), (stolen - self._stolen) / passed


def _machine_time() -> tuple[float, float, float]:
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    user, nice, system, idle, wait, hard, soft, stolen = (int(word) for word in line.split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    busy = user + nice + system + hard + soft
    return busy / tick, stolen / tick, (busy + idle + wait + stolen) / tick


def _own_time() -> float:
    """Ours, and that of children that have ended."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
