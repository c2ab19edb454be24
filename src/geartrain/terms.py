"""The words of the trade as types: what a handle, a unique and a function name are.

All three are byte strings on the wire; the ``NewType`` keeps a handle from being
passed where a unique is meant. They cost nothing at run time.
"""

from __future__ import annotations

from typing import Final, NewType

#: Name of a function: any bytes except NUL, compared exactly.
FunctionName = NewType("FunctionName", bytes)
#: The client's key for a job; with the function it identifies the job for coalescing. Empty: none.
Unique = NewType("Unique", bytes)
#: The server's name for a job, at most 63 bytes; libgearman clients cut longer ones.
JobHandle = NewType("JobHandle", bytes)

HIGH: Final = 0
NORMAL: Final = 1
LOW: Final = 2
PRIORITY_NAMES: Final = ("high", "normal", "low")

#: Unique by which the server uses the workload as the key (protocol reference, 2.6). Clients
#: that digest it themselves: ``geartrain.BY_WORKLOAD``.
WORKLOAD_AS_KEY: Final = b"-"

DEFAULT_PORT: Final = 4730
MAX_HANDLE_BYTES: Final = 63
