"""Calls: the worker half, which runs what it is sent by those who have the key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from geartrain.errors import Fail, Requeue, StopWorker
from geartrain.executor.sealed import Seal
from geartrain.worker.blame import traceback_of
from geartrain.worker.functions import note_failure
from geartrain.worker.job import Job, describe

FUNCTION: Final = "geartrain.call"


class Calls:
    """One function for workers: runs signed calls.

    Args:
        key: as that of the executors; 16 bytes or more.
        function: name on the wire, as the executors say.
        serializer: of results; ``cloudpickle`` where they may be lambdas.

    Raises:
        ConfigurationError: a key that is too short.
    """

    name = "geartrain.executor"

    def __init__(self, key: bytes, *, function: str = FUNCTION, serializer: str = "pickle") -> None:
        self._seal = Seal(key, serializer)
        self._function = function

    @property
    def functions(self) -> Mapping[str, Calls]:
        """What workers can do with this."""
        return {self._function: self}

    def register(
        self,
        worker: Any,
        *,
        only: Collection[str] | None = None,
        exclude: Collection[str] = (),
    ) -> None:
        """Add the function to a ``Worker`` or an ``AsyncWorker``, as ``App.register``."""
        if (only is None or self._function in only) and self._function not in exclude:
            worker.add_function(self._function, self)

    def __call__(self, job: Job) -> bytes:
        """Do one job.

        Raises:
            DecodeError: the call is not signed with the key; nothing was unpickled.
            EncodeError: the result cannot be pickled.
        """
        seal = self._seal
        fn, args, kwargs = seal.open_call(job.workload)
        try:
            result = fn(*args, **kwargs)
        except (Fail, Requeue, StopWorker):
            raise
        except Exception as error:
            note_failure(job, error)
            job.send_exception(
                seal.fault(job.workload, describe(error, traceback_of(error)), error)
            )
            return b""
        return seal.answer(job.workload, result)
