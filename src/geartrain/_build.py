"""Which build this is: compiled, or pure Python.

Both come from the same files and behave alike; the compiled one is faster. A
server that is slower than expected should be able to say which one it is, so
``gearmand --version`` and its first line of log do.
"""

from __future__ import annotations

import platform
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final

#: The module that is asked. If the job server's mind is compiled, the rest of
#: the hot path is too: they are built together or not at all.
WITNESS: Final = "geartrain.broker.broker"


def is_compiled(module: str = WITNESS) -> bool:
    """Whether this install's hot path is machine code.

    Finds the module without running it, so asking costs no import of the
    broker itself.
    """
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        return False
    origin = spec.origin if spec is not None else None
    return origin is not None and origin.endswith(tuple(EXTENSION_SUFFIXES))


def describe() -> str:
    """The build in a few words: ``compiled, CPython 3.11.7``."""
    kind = "compiled" if is_compiled() else "pure Python, slower"
    return f"{kind}, {platform.python_implementation()} {platform.python_version()}"
