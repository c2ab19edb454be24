"""The distributed fork: ``concurrent.futures`` on job servers.

::

    from geartrain.executor import GearmanExecutor

    with GearmanExecutor("gm1,gm2", key=key) as pool:
        for size in pool.map(os.path.getsize, names, chunksize=100):
            ...

Workers are started with ``gearman-worker geartrain.executor --key-file F``, or
``Calls(key).register(worker)`` adds the function to one of your own.

Calls are pickled, and **whoever has the key can run any code in your workers**. So
both calls and answers are signed with it, and checked before they are unpickled.
"""

from __future__ import annotations

from geartrain.errors import ConfigurationError
from geartrain.executor.answering import Calls
from geartrain.executor.futures import GearmanExecutor, GearmanFuture

__all__ = ["Calls", "GearmanExecutor", "GearmanFuture", "gearman_target"]


def gearman_target(*, key: bytes | None) -> Calls:
    """What ``gearman-worker geartrain.executor`` runs.

    Raises:
        ConfigurationError: without a key.
    """
    if key is None:
        raise ConfigurationError(
            "geartrain.executor runs what it is sent, and only from those who have the key: "
            "give --key-file; `head -c 32 /dev/urandom | base64` makes one"
        )
    return Calls(key)
