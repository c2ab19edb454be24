"""A broker without a server, and peers that remember what they were told."""

from __future__ import annotations

from typing import Any

from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.invariants import check
from geartrain.broker.progress import COMPLETE, DATA, EXCEPTION, FAIL, STATUS, WARNING
from geartrain.broker.state import Rules
from geartrain.broker.tables import Job, Peer
from geartrain.terms import HIGH, LOW, NORMAL

__all__ = [
    "COMPLETE", "DATA", "EXCEPTION", "FAIL", "HIGH", "LOW", "NORMAL", "STATUS", "WARNING",
    "Ear", "Mind",
]  # fmt: skip

#: What a peer was told: a word and its details.
Said = tuple[object, ...]


class Ear(Peer):
    """A peer that writes down what the broker says, and has said it."""

    def __init__(self, mind: Mind, number: int) -> None:
        super().__init__(number)
        self.mind = mind
        self.said: list[Said] = []
        self.tickets = 0

    # ── what it hears ────────────────────────────────────────────────────────

    def job_created(self, handle: bytes) -> None:
        self.said.append(("created", handle))

    def refused(self, code: bytes, text: bytes) -> None:
        self.said.append(("refused", code, text))

    def promise(self) -> int:
        self.said.append(("promised", self.tickets))
        self.tickets += 1
        return self.tickets - 1

    def redeem(self, ticket: int, handle: bytes) -> None:
        self.said.append(("redeemed", ticket, handle))

    def renege(self, ticket: int, code: bytes, text: bytes) -> None:
        self.said.append(("reneged", ticket, code, text))

    def assign(self, ticket: int, job: Job | None) -> None:
        self.said.append(("assigned", ticket, None if job is None else job.handle))

    def noop(self) -> None:
        self.said.append(("noop",))

    def work_update(self, kind: int, body: bytes, start: int) -> None:
        self.said.append(("update", kind, body[: start - 1], body[start:]))

    def work_fail(self, handle: bytes) -> None:
        self.said.append(("fail", handle))

    def heard(self) -> list[Said]:
        """What was said since the last look."""
        said, self.said = self.said, []
        return said

    # ── what it says ─────────────────────────────────────────────────────────

    def submit(
        self,
        function: bytes = b"f",
        unique: bytes = b"",
        workload: bytes = b"w",
        *,
        priority: int = NORMAL,
        background: bool = False,
        when: int = 0,
        reducer: bytes = b"",
    ) -> bytes:
        """Submit a job; its handle, or the code of the refusal."""
        self.mind.broker.submit(
            self, function, unique, workload, priority, background, when, reducer
        )
        self.mind.agree()
        answers = [one for one in self.said if one[0] in ("created", "refused")]
        assert len(answers) == 1, answers
        self.said.remove(answers[0])
        answer = answers[0][1]
        assert isinstance(answer, bytes)
        return answer

    def can_do(self, *names: bytes, seconds: float = 0.0) -> Ear:
        for name in names:
            self.mind.broker.can_do(self, name, seconds)
            self.mind.agree()
        return self

    def cant_do(self, name: bytes) -> None:
        self.mind.broker.cant_do(self, name)
        self.mind.agree()

    def reset_abilities(self) -> None:
        self.mind.broker.reset_abilities(self)
        self.mind.agree()

    def sleep(self) -> Ear:
        self.mind.broker.pre_sleep(self)
        self.mind.agree()
        return self

    def grab(self) -> Job | None:
        job = self.mind.broker.grab(self)
        self.mind.agree()
        return job

    def grab_workload(self) -> bytes | None:
        """Grab, and tell jobs apart by their workloads."""
        job = self.grab()
        return None if job is None else job.workload

    def grab_all(self) -> list[bytes]:
        """Grab until there is nothing; the workloads in order."""
        found: list[bytes] = []
        while (workload := self.grab_workload()) is not None:
            found.append(workload)
        return found

    def report(self, handle: bytes, data: bytes = b"", kind: int = DATA) -> bool:
        body = handle + b"\0" + data
        known = self.mind.broker.report(self, kind, handle, body, len(handle) + 1)
        self.mind.agree()
        return known

    def progress(self, handle: bytes, numerator: int, denominator: int) -> bool:
        said = b"%d\0%d" % (numerator, denominator)
        body = handle + b"\0" + said
        known = self.mind.broker.report_status(
            self, handle, numerator, denominator, body, len(handle) + 1
        )
        self.mind.agree()
        return known

    def finish(self, handle: bytes, data: bytes = b"", kind: int = COMPLETE) -> bool:
        body = handle + b"\0" + data
        known = self.mind.broker.finish(self, kind, handle, body, len(handle) + 1)
        self.mind.agree()
        return known

    def leave(self) -> None:
        self.mind.broker.leave(self)
        self.mind.agree()

    @property
    def was_woken(self) -> bool:
        """It was sent a NOOP since the last look; anything else it was told is kept."""
        if ("noop",) not in self.said:
            return False
        self.said.remove(("noop",))
        return True


class Mind:
    """A broker whose tables are checked after every call.

    Args:
        checked: look at all tables after each call; False for large ones.
        rules: attributes of ``Rules``.
    """

    def __init__(self, *, checked: bool = True, **rules: Any) -> None:
        self.rules = Rules()
        for name, value in rules.items():
            assert hasattr(self.rules, name), name
            setattr(self.rules, name, value)
        self.broker = Broker(self.rules, HandleMaker(b"H:test:"))
        self.checked = checked
        self.wall = 1_700_000_000.0
        self.steady = 1_000.0
        self._numbers = 0
        self.broker.tick(self.wall, self.steady)

    def join(self) -> Ear:
        self._numbers += 1
        ear = Ear(self, self._numbers)
        self.broker.join(ear)
        return ear

    def worker(self, *names: bytes, seconds: float = 0.0) -> Ear:
        """A peer that can do these functions."""
        return self.join().can_do(*names or (b"f",), seconds=seconds)

    def sleeper(self, *names: bytes) -> Ear:
        """A worker that sleeps."""
        return self.worker(*names).sleep()

    def pass_time(self, seconds: float, *, wall: float | None = None) -> None:
        """Let time pass on both clocks, or on each its own."""
        self.steady += seconds
        self.wall += seconds if wall is None else wall
        self.broker.tick(self.wall, self.steady)
        self.agree()

    def cancel(self, handle: bytes) -> bool:
        known = self.broker.cancel(handle)
        self.agree()
        return known

    def agree(self) -> None:
        """The turn ends, and the tables agree."""
        self.broker.end_turn()
        if self.checked:
            check(self.broker.state)

    def status(self, handle: bytes) -> tuple[bool, bool, int, int, int]:
        found = self.broker.status(handle)
        return found.known, found.running, found.numerator, found.denominator, found.clients

    def counts(self, name: bytes = b"f") -> tuple[int, int, int]:
        """Total, running, workers, as ``status`` shows them."""
        row = self.broker.function_row(name)
        assert row is not None
        return row.total, row.running, row.workers
