"""The admin text protocol: status, workers, jobs, limits, cancel.

One command a line, words separated by spaces, command words in any case. Answers
of data commands end in LF, of actions in CRLF, lists in a line with a dot: the
bytes are the C server's, its odd ``+`` signs included, because programs parse
them. Where it closes the connection or eats a letter, we answer.

A list may be long (a line a job), so it is not made at once: ``answer`` returns
a ``Listing``, and the connection asks it for the next piece when the last one is
on its way.

Source: protocol reference, section 3.
"""

from __future__ import annotations

from typing import Final

from geartrain.broker.inspection import JobRow
from geartrain.frontends.port import House, Question

#: Lines made at a time.
PIECE: Final = 500

_FUNCTIONS: Final = 0
_PRIORITIES: Final = 1
_PEERS: Final = 2
_JOBS: Final = 3
_UNIQUES: Final = 4
_JOB_DETAILS: Final = 5
_KIND_VERBS: Final = {_JOBS: b"show jobs", _UNIQUES: b"show unique jobs", _JOB_DETAILS: b"jobs"}


def for_people(name: bytes) -> bytes:
    """A name without bytes that would break a table: control bytes become ``%XX``."""
    for byte in name:
        if byte < 32 or byte == 127:
            return b"".join([b"%%%02X" % b if b < 32 or b == 127 else bytes((b,)) for b in name])
    return name


class Listing:
    """A list on its way out, a piece at a time."""

    def __init__(
        self, house: House, kind: int, names: list[bytes], numbers: list[int], last: bool = True
    ) -> None:
        self._house = house
        #: The closing dot is ours to say.
        self._last = last
        self._kind = kind
        self._names = names
        self._numbers = numbers
        self._at = 0
        self.done = False

    def piece(self) -> bytes:
        """The next lines; with the last ones comes the closing dot."""
        size = len(self._numbers) if self._kind == _PEERS else len(self._names)
        lines: list[bytes] = []
        at = self._at
        end = min(at + PIECE, size)
        while at < end:
            line = self._peer(at) if self._kind == _PEERS else self._line(self._names[at])
            if line:
                lines.append(line)
            at += 1
        self._at = end
        if end == size:
            self.done = True
            if self._last:
                lines.append(b".\n")
        return b"".join(lines)

    def _line(self, name: bytes) -> bytes:
        broker = self._house.broker
        kind = self._kind
        if kind == _FUNCTIONS or kind == _PRIORITIES:
            row = broker.function_row(name)
            if row is None:
                return b""
            if kind == _FUNCTIONS:
                counts = b"\t%d\t%d\t%d\n" % (row.total, row.running, row.workers)
            else:
                counts = b"\t%d\t%d\t%d\t%d\n" % (row.high, row.normal, row.low, row.workers)
            return for_people(name) + counts
        job = broker.job_row(name)
        return b"" if job is None else job_line(_KIND_VERBS[kind], job)

    def _peer(self, at: int) -> bytes:
        row = self._house.broker.peer_row(self._numbers[at])
        if row is None:
            return b""
        client_id = b"_".join(for_people(row.client_id).split()) or b"-"
        abilities = b"".join([b" " + for_people(name) for name in row.abilities])
        return b"%d %s %s :%s\n" % (row.number, row.address, client_id, abilities)


def job_line(verb: bytes, job: JobRow) -> bytes:
    """One job, in the list that is called so."""
    if verb == b"show unique jobs":
        return for_people(job.unique) + b"\n"
    if verb == b"jobs":
        where = job.worker or b"-"
        return b"\t".join(
            [for_people(job.function), for_people(job.unique), where, b"%d\n" % job.clients]
        )
    # The third column is the C server's "ignore" mark of abandoned jobs;
    # ours are gone at once, so it is always 0.
    return b"%s\t%d\t0\t%d\n" % (job.handle, job.attempts, 1 if job.background else 0)


class Answer:
    """What a line is answered with: bytes now, a list after them, or what only the store knows."""

    def __init__(
        self, data: bytes, listing: Listing | None = None, question: Question | None = None
    ) -> None:
        self.data = data
        self.listing = listing
        self.question = question


#: What only the store knows, and whether its answer is a list. Answers are JSON, an object
#: a line; arguments are words, with ``%XX`` for what a word cannot hold.
_QUESTIONS: Final = {
    b"dead list": True,
    b"dead export": True,
    b"dead show": False,
    b"dead retry": False,
    b"dead delete": False,
    b"job list": True,
    b"job show": False,
}


def answer(house: House, line: bytes) -> Answer:
    """Carry out one line and say what to send back."""
    nul = line.find(b"\0")
    if nul >= 0:
        line = line[:nul]
    words = line.split()
    if not words or line[:1] == b" ":
        return _unknown(b"")
    command = words[0].lower()
    broker = house.broker
    if command == b"status":
        return Answer(b"", Listing(house, _FUNCTIONS, broker.function_names(), []))
    if command == b"prioritystatus":
        return Answer(b"", Listing(house, _PRIORITIES, broker.function_names(), []))
    if command == b"workers":
        return Answer(b"", Listing(house, _PEERS, [], broker.peer_numbers()))
    if command == b"version":
        return Answer(b"OK " + house.version.encode() + b"\n")
    if command == b"getpid":
        return Answer(b"OK %d\n" % house.pid)
    if command == b"verbose":
        return Answer(b"OK " + house.verbosity.encode() + b"\n")
    if command == b"show" and len(words) > 1:
        return _show(house, words)
    if command == b"cancel" and len(words) > 2:
        return _cancel(house, words)
    if command == b"create":
        if len(words) != 3 or words[1].lower() != b"function":
            return _incomplete(words[0])
        return _made(broker.create_function(words[2]))
    if command == b"drop":
        if len(words) != 3 or words[1].lower() != b"function":
            return _incomplete(words[0])
        return _drop(house, words[2])
    if command == b"maxqueue":
        return _max_queue(house, words)
    if command == b"jobs":
        return _jobs(house, _JOB_DETAILS)
    if len(words) > 1:
        verb = command + b" " + words[1].lower()
        if verb in _QUESTIONS:
            return Answer(b"", None, Question(verb, words[2:], _QUESTIONS[verb]))
    if command == b"why" and len(words) == 2:
        return Answer(b"", None, Question(command, words[1:]))
    if command == b"shutdown" and house.may_shut_down:
        if len(words) > 2 or (len(words) == 2 and words[1].lower() != b"graceful"):
            return _incomplete(words[0])
        house.shut_down(len(words) == 2)
        return Answer(b"OK\r\n")
    return _unknown(words[0])


def _show(house: House, words: list[bytes]) -> Answer:
    what = words[1].lower()
    if what == b"jobs" and len(words) == 2:
        return _jobs(house, _JOBS)
    if what == b"unique" and len(words) == 3 and words[2].lower() == b"jobs":
        return _jobs(house, _UNIQUES)
    return Answer(b"ERR UNKNOWN_SHOW_ARGUMENTS\r\n")


def _jobs(house: House, kind: int) -> Answer:
    """A list of all jobs: those in memory, and after them, page by page, those in the store."""
    broker = house.broker
    if not broker.has_more:
        return Answer(b"", Listing(house, kind, broker.job_handles(), []))
    # What is being stored now may be in the store when that is looked through.
    unstored = broker.unstored_handles()
    question = Question(_KIND_VERBS[kind], unstored, True)
    return Answer(b"", Listing(house, kind, unstored, [], False), question)


def _cancel(house: House, words: list[bytes]) -> Answer:
    if len(words) != 3 or words[1].lower() != b"job":
        return Answer(b"ERR UNKNOWN_ERROR\r\n")
    if house.broker.cancel(words[2]):
        return Answer(b"OK\r\n")
    if house.broker.is_stored_somewhere(words[2]):
        return Answer(b"", None, Question(b"cancel job", [words[2]]))
    return Answer(b"ERR UNKNOWN_JOB\r\n")


def _drop(house: House, name: bytes) -> Answer:
    dropped = house.broker.drop_function(name)
    if dropped is None:
        return Answer(b"ERR function not found\r\n")
    if not dropped:
        return Answer(b"ERR there are still connected workers or executing clients\r\n")
    return Answer(b"OK\r\n")


def _max_queue(house: House, words: list[bytes]) -> Answer:
    if len(words) < 2 or len(words) > 5:
        return _incomplete(words[0])
    limits = [_limit(word) for word in words[2:]]
    if len(limits) == 1:
        limits = [limits[0], limits[0], limits[0]]
    while len(limits) < 3:
        limits.append(0)
    return _made(house.broker.limit_function(words[1], limits[0], limits[1], limits[2]))


def _made(made: bool) -> Answer:
    if made:
        return Answer(b"OK\r\n")
    return Answer(b"ERR there are max-functions functions already, drop one first\r\n")


def _limit(word: bytes) -> int:
    # As in the C server: what is no number, or negative, means no limit.
    return int(word) if word.isdigit() and len(word) < 19 else 0


def line_too_long(limit: int) -> bytes:
    """What a line is answered with that has no end where it should."""
    return b"ERR LINE_TOO_LONG A+line+has+at+most+%d+bytes\r\n" % (limit - 1)


def _unknown(word: bytes) -> Answer:
    return Answer(b"ERR UNKNOWN_COMMAND Unknown+server+command" + word + b"\r\n")


def _incomplete(word: bytes) -> Answer:
    return Answer(
        b"ERR INVALID_ARGUMENTS An+incomplete+set+of+arguments+was+sent+to+this+command+"
        + word
        + b"\r\n"
    )
