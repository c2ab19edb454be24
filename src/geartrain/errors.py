"""Every error geartrain raises on purpose, in one tree.

::

    GearmanError
    ├── ConfigurationError           a setting is wrong: fix it and start again          (ValueError)
    ├── ProtocolError                the other side broke the protocol: close
    │   ├── BadMagic                 neither side's magic: the stream is lost
    │   ├── PacketTooLarge           a header announces more than this side accepts
    │   └── LineTooLong              a text line that does not end
    ├── ServerUnavailable            nobody took the job: safe to send again             (ConnectionError)
    │   └── OutcomeUnknown           sent, never answered: the server may have the job
    ├── ServerError                  the server said no, and its code says why
    │   ├── QueueFull                ... but later is fine
    │   ├── JobNotFound
    │   └── UnknownOption
    ├── NoWorkers                    nobody can do this function now
    ├── GearmanTimeout               we stopped waiting; the job may go on               (TimeoutError)
    │   ├── ConnectTimeout
    │   ├── SubmitTimeout            no JOB_CREATED in time: the server may have the job
    │   └── ResultTimeout
    ├── CodecError                                                                       (ValueError)
    │   ├── EncodeError
    │   └── DecodeError
    ├── JobFailed                    the worker said so
    │   ├── JobException             ... and why
    │   └── JobLost                  accepted, then the connection went: it may have run
    ├── JobFinished                  a report on a job that has ended
    └── raised by handlers, for the worker to act on
        ├── Fail                     end this job as failed
        ├── Requeue                  give this job to another worker
        └── StopWorker               end this job well, and take no more

Errors hold plain values, and their text is made from the fields: what happened,
with the numbers, and the way out.
"""

from __future__ import annotations

from typing import Final


class GearmanError(Exception):
    """The root of everything geartrain raises on purpose."""


#: What TLS begins with: a handshake, as who calls says it, and an alert, as who is called does.
TLS_STARTS: Final = (b"\x16\x03", b"\x15\x03")


class ConfigurationError(GearmanError, ValueError):
    """A setting is wrong; the text names the setting, the value and what is allowed."""


class ProtocolError(GearmanError):
    """The other side broke the protocol; close the connection."""

    #: The word that goes into an ERROR packet when there is still somebody to tell.
    code = "INVALID_PACKET"


class BadMagic(ProtocolError):
    """A packet that begins with neither magic: where the next one begins is unknown.

    Attributes:
        found: what there was in its place.
        is_tls: the other side speaks TLS, and this one does not.
    """

    code = "INVALID_MAGIC"

    def __init__(self, found: bytes) -> None:
        self.found = found
        self.is_tls = found.startswith(TLS_STARTS)
        super().__init__(
            "the other side speaks TLS, and this connection is plain: have both speak it "
            "(gearmand --ssl; --ssl or tls=True of clients and workers), or neither"
            if self.is_tls
            else f"expected a packet that begins with \\0REQ or \\0RES, found {found!r}; "
            f"is the peer speaking Gearman, and without TLS?"
        )


class PacketTooLarge(ProtocolError):
    """A header announces more bytes than this side accepts."""

    code = "ARGUMENT_TOO_LARGE"

    def __init__(self, number: int, size: int, limit: int) -> None:
        self.number = number
        self.size = size
        self.limit = limit
        super().__init__(
            f"packet of type {number} announces {size} bytes, the limit is {limit}; "
            f"raise max-packet-bytes on the server, or send the workload by reference"
        )


class LineTooLong(ProtocolError):
    """A text line has reached the limit without a newline."""

    code = "ARGUMENT_TOO_LARGE"

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"a text line is longer than {limit} bytes; end commands with a newline")


class ServerUnavailable(GearmanError, ConnectionError):
    """No server took the request; nothing was submitted, so sending it again is safe.

    Attributes:
        message: what could not be done.
        causes: for each server tried, by its address, what went wrong there.
    """

    def __init__(self, message: str, causes: dict[str, str] | None = None) -> None:
        self.message = message
        self.causes = dict(causes or {})
        detail = "; ".join(f"{server}: {cause}" for server, cause in self.causes.items())
        super().__init__(f"{message} ({detail})" if detail else message)


class OutcomeUnknown(ServerUnavailable):
    """A submission was sent and the connection went before its answer came.

    The server may or may not have the job. Sending it again is safe only with
    a unique key, or where running the job twice does no harm.
    """


class ServerError(GearmanError):
    """The server answered with an ERROR packet (or an ``ERR`` line).

    Attributes:
        code: the server's word for what is wrong, such as ``QUEUE_ERROR``; empty where it
            says a sentence alone.
        text: the server's sentence.
    """

    def __init__(self, code: str, text: str = "") -> None:
        self.code = code
        self.text = text
        super().__init__(f"{code}: {text}" if code and text else code or text)


class QueueFull(ServerError):
    """The function's queue has reached its limit; later is fine."""


class JobNotFound(ServerError):
    """The server knows no such job (any more)."""


class UnknownOption(ServerError):
    """The server does not know an option that was asked for."""


class NoWorkers(GearmanError):
    """No worker is registered for the function."""

    def __init__(self, function: str) -> None:
        self.function = function
        super().__init__(
            f"no worker can do {function!r} now; start one, or leave require_worker off to wait"
        )


class GearmanTimeout(GearmanError, TimeoutError):
    """We stopped waiting; what was asked for may still happen."""


class ConnectTimeout(GearmanTimeout):
    """A server did not accept the connection in time."""


class SubmitTimeout(GearmanTimeout):
    """No answer to a submission in time: the server may or may not have the job."""


class ResultTimeout(GearmanTimeout):
    """The job did not end in time; it goes on, and its status can be asked by handle."""


class CodecError(GearmanError, ValueError):
    """A value could not be turned into a workload, or back."""


class EncodeError(CodecError):
    """A value cannot be sent with this codec."""


class DecodeError(CodecError):
    """A workload is not what this codec expects."""


class JobFailed(GearmanError):
    """WORK_FAIL: the worker reported a failure, or the server gave the job up.

    The packet has no room for a reason. The server gives a job up when its worker was lost,
    or its time was over, once too often, and says so in its log; a cancelled job ends like that too.

    Attributes:
        function: name of the function.
        handle: the job's handle, or an empty string when it was never created.
        unique: the job's unique key.
        task: the task as its client sees it, where there is one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        function: str = "",
        handle: str = "",
        unique: bytes = b"",
        task: object = None,
    ) -> None:
        self.function = function
        self.handle = handle
        self.unique = unique
        self.task = task
        super().__init__(
            message
            or f"{function or 'the job'} {handle} failed without a reason (WORK_FAIL): its worker "
            f"called it failed, it was cancelled, or the server gave it up, as its log then says"
        )


class JobException(JobFailed):
    """The worker reported WORK_EXCEPTION.

    Attributes:
        data: the packet's payload as it came.
        type_name: the remote exception's type, where the payload tells it.
        remote_traceback: the remote traceback, where the payload carries one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        data: bytes = b"",
        type_name: str = "",
        remote_traceback: str = "",
        function: str = "",
        handle: str = "",
        unique: bytes = b"",
        task: object = None,
    ) -> None:
        self.data = data
        self.type_name = type_name
        self.remote_traceback = remote_traceback
        text = message or data.decode("utf-8", "backslashreplace")
        super().__init__(text, function=function, handle=handle, unique=unique, task=task)
        if remote_traceback:
            self.add_note(f"In the worker:\n{remote_traceback.rstrip()}")


class JobLost(JobFailed):
    """The connection went after JOB_CREATED and before the end of the job.

    A foreground job that still waited in the queue was dropped with its
    client; one that ran may have finished. Send it again only if running it
    twice does no harm, or under the same unique key.
    """


class JobFinished(GearmanError):
    """A report on a job that has ended, or that was taken from this worker."""

    def __init__(self, handle: str) -> None:
        self.handle = handle
        super().__init__(
            f"{handle} has ended: a job is completed, failed or raised once, and reports on "
            f"nothing after that"
        )


class Fail(GearmanError):
    """Raise it in a handler to end the job as failed.

    With a reason the client gets it as an exception (WORK_EXCEPTION), without
    one a bare WORK_FAIL.
    """

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class Requeue(GearmanError):
    """Raise it in a handler to have the server give the job to another worker.

    The worker drops the connection, which is the only way that the protocol
    has; the server counts it as an attempt (``gearmand --job-retries``).
    """


class StopWorker(GearmanError):
    """Raise it in a handler to end the job with ``result`` and then stop the worker."""

    def __init__(self, result: object = b"") -> None:
        self.result = result
        super().__init__("a handler has stopped the worker")
