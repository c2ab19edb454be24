"""Where the numbers come from: numbers without their machine say nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from benchmarks import peers, servers
from benchmarks.measures import OURS


def describe() -> dict[str, str]:
    """The machine and the versions, by name."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "processor": f"{model or platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "ours": servers.version(OURS),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }
    if servers.is_present(servers.C_T0):
        found["C server"] = servers.version(servers.C_T0)
    else:
        found["C server"] = servers.C_ABSENT
    for peer in (*peers.ON_REDIS, peers.PHP):
        if not peers.absent(peer):
            found[peer] = peers.version(peer)
    return found
