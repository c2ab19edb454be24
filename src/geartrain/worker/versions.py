"""Time limits: milliseconds or seconds? It depends on the server's version.

CAN_DO_TIMEOUT is in milliseconds, but the C server took it for seconds before
1.1.19, and the Perl server does so still (protocol reference, 2.11). A worker with
time limits asks for the version once, before it announces them.
"""

from __future__ import annotations


def timeouts_in_seconds(version: str) -> bool:
    """Whether a server of this version takes time limits in seconds."""
    numbers = []
    for word in version.lstrip("vV").split("."):
        digits = ""
        for ch in word:
            if not ch.isdigit():
                break
            digits += ch
        if not digits:
            break
        numbers.append(int(digits))
    if len(numbers) < 2:
        return False
    major, minor, patch = [*numbers, 0, 0][:3]
    if major == 1 and minor >= 100:
        return True  # Gearman::Server, such as 1.130.1
    return (major, minor, patch) < (1, 1, 19)
