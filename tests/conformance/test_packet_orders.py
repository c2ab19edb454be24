"""All orders of packets: whatever comes after whatever, each request gets its answer.

The alphabet is every packet type that a peer may send, and some that none should,
each with an empty body, a short one and a valid one. A sequence is sent in one
write with an echo behind it; up to that echo the server must have answered each
request, in order and in words that fit, or said nothing where nothing is due.

Sequences run on many connections side by side, so that neither we nor the server
wait for one another; each connection is put into its role again before the next.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import Server
from tests.conformance.wire import Packet, T, Wire, name_of, packet
from tests.support import wait_until

FUNCTION = b"orders"

#: Stands for a handle in a body: the job that the connection runs, if any.
HANDLE = b"<handle>"

SUBMITTED = frozenset({T.JOB_CREATED, T.ERROR})
GRABBED = frozenset({T.NO_JOB, T.JOB_ASSIGN, T.JOB_ASSIGN_UNIQ, T.JOB_ASSIGN_ALL})
REFUSED = frozenset({T.ERROR})
NOTHING: frozenset[T] = frozenset()

#: Type, body with all arguments, body with too little in it, and what may answer;
#: a packet with no possible answer must not be answered.
REQUESTS: list[tuple[int, bytes, bytes, frozenset[T]]] = [
    (T.CAN_DO, FUNCTION, b"o", NOTHING),
    (T.CANT_DO, FUNCTION, b"o", NOTHING),
    (T.RESET_ABILITIES, b"", b"x", NOTHING),
    (T.PRE_SLEEP, b"", b"x", NOTHING),
    (T.SUBMIT_JOB, FUNCTION + b"\0u\0w", FUNCTION, SUBMITTED),
    (T.SUBMIT_JOB_BG, FUNCTION + b"\0\0w", FUNCTION, SUBMITTED),
    (T.SUBMIT_JOB_HIGH, FUNCTION + b"\0\0w", FUNCTION + b"\0u", SUBMITTED),
    (T.SUBMIT_JOB_HIGH_BG, FUNCTION + b"\0u\0w", FUNCTION + b"\0u", SUBMITTED),
    (T.SUBMIT_JOB_LOW, FUNCTION + b"\0-\0w", FUNCTION, SUBMITTED),
    (T.SUBMIT_JOB_LOW_BG, FUNCTION + b"\0-\0w", FUNCTION, SUBMITTED),
    (T.SUBMIT_JOB_EPOCH, FUNCTION + b"\0u\x001\0w", FUNCTION + b"\0u\x001", SUBMITTED),
    (T.SUBMIT_REDUCE_JOB, FUNCTION + b"\0\0r\0\0w", FUNCTION + b"\0\0r", SUBMITTED),
    (T.SUBMIT_REDUCE_JOB_BACKGROUND, FUNCTION + b"\0u\0r\0\0w", FUNCTION, SUBMITTED),
    (T.SUBMIT_JOB_SCHED, FUNCTION + b"\0u\x001\x002\x003\x004\x005\0w", FUNCTION, REFUSED),
    (T.GRAB_JOB, b"", b"x", GRABBED),
    (T.GRAB_JOB_UNIQ, b"", b"x", GRABBED),
    (T.GRAB_JOB_ALL, b"", b"x", GRABBED),
    # Refused if the job is not this connection's, else silent: see REPORTS.
    (T.WORK_STATUS, HANDLE + b"\x001\x002", HANDLE, REFUSED),
    (T.WORK_COMPLETE, HANDLE + b"\0r", HANDLE, REFUSED),
    (T.WORK_FAIL, HANDLE, b"H", REFUSED),
    (T.WORK_EXCEPTION, HANDLE + b"\0e", HANDLE, REFUSED),
    (T.WORK_DATA, HANDLE + b"\0d", HANDLE, REFUSED),
    (T.WORK_WARNING, HANDLE + b"\0w", HANDLE, REFUSED),
    (T.GET_STATUS, HANDLE, b"H", frozenset({T.STATUS_RES})),
    (T.GET_STATUS_UNIQUE, b"u", b"-", frozenset({T.STATUS_RES_UNIQUE})),
    (T.ECHO_REQ, b"e", b"\0", frozenset({T.ECHO_RES})),
    (T.SET_CLIENT_ID, b"id", b"i", NOTHING),
    (T.CAN_DO_TIMEOUT, FUNCTION + b"\x0060000", FUNCTION, NOTHING),
    (T.OPTION_REQ, b"exceptions", b"e", frozenset({T.OPTION_RES, T.ERROR})),
    (T.ALL_YOURS, b"", b"x", REFUSED),
    (T.UNUSED, b"", b"x", REFUSED),
    (T.NOOP, b"", b"x", REFUSED),
    (T.JOB_CREATED, HANDLE, b"H", REFUSED),
    (T.JOB_ASSIGN, HANDLE + b"\0f\0w", b"H", REFUSED),
    (0, b"f\0u\0w", b"x", REFUSED),
    (43, b"f\0u\0w", b"x", REFUSED),
    (0x7FFFFFFF, b"f\0u\0w", b"x", REFUSED),
    (0x80000000, b"f\0u\0w", b"x", REFUSED),
    (0xFFFFFFFF, b"f\0u\0w", b"x", REFUSED),
]

#: Answered only if refused.
REPORTS = frozenset(
    {T.WORK_STATUS, T.WORK_COMPLETE, T.WORK_FAIL, T.WORK_EXCEPTION, T.WORK_DATA, T.WORK_WARNING}
)

#: What may come at any time: wake-ups, and news of the connection's own jobs.
NEWS = REPORTS | {T.NOOP}


@dataclass(frozen=True)
class Letter:
    """One packet of the alphabet."""

    number: int
    body: bytes
    answers: frozenset[T]

    def __str__(self) -> str:
        return f"{name_of(self.number)} {self.body!r}"


#: One of each type, whole.
WHOLE = [Letter(number, body, answers) for number, body, _, answers in REQUESTS]

#: Each type with each kind of body.
ALL = [
    Letter(number, body, answers)
    for number, valid, short, answers in REQUESTS
    for body in dict.fromkeys((valid, short, b""))
]

Word = tuple[Letter, ...]


def fits(word: Word, answers: Sequence[Packet]) -> bool:
    """Whether these answers, news left out, are answers to this word."""
    if not word:
        return not answers
    letter, rest = word[0], word[1:]
    if letter.number in REPORTS:
        if fits(rest, answers):
            return True
    elif not letter.answers:
        return fits(rest, answers)
    return (
        bool(answers) and answers[0].number in letter.answers | REFUSED and fits(rest, answers[1:])
    )


class Speaker:
    """A connection that says words, one after the other."""

    def __init__(self, wire: Wire, seasoned: bool) -> None:
        self.wire = wire
        self._seasoned = seasoned
        self._handle = b"H:nobody:1"

    def prepare(self) -> None:
        """Become a worker that runs a job, and a client that waits for one."""
        if self._seasoned:
            self.wire.socket.sendall(
                packet(T.RESET_ABILITIES)
                + packet(T.CAN_DO, FUNCTION)
                + packet(T.SUBMIT_JOB, FUNCTION, b"", b"w")
                + packet(T.GRAB_JOB)
                + packet(T.ECHO_REQ, b"ready")
            )

    def prepared(self) -> None:
        if self._seasoned:
            for heard in self._until(b"ready"):
                if heard.number == T.JOB_ASSIGN:
                    self._handle = heard.body.partition(b"\0")[0]

    def say(self, word: Word) -> None:
        self.wire.socket.sendall(
            b"".join(
                packet(letter.number, letter.body.replace(HANDLE, self._handle)) for letter in word
            )
            + packet(T.ECHO_REQ, b"over")
        )

    def check(self, word: Word) -> None:
        heard = [answer for answer in self._until(b"over") if answer.number not in NEWS]
        if not fits(word, heard):
            said = "\n".join(f"  > {letter}" for letter in word)
            answers = "\n".join(f"  < {answer}" for answer in heard)
            raise AssertionError(f"no answer to fit each of\n{said}\nbut\n{answers or '  nothing'}")

    def _until(self, token: bytes) -> Iterator[Packet]:
        while (heard := self.wire.receive()) != Packet(T.ECHO_RES, token):
            yield heard


def speak(server: Server, dial: Dial, words: Iterator[Word], seasoned: bool) -> int:
    """Say all the words, many connections at a time; how many there were."""
    count = 0
    other = dial(server)
    speakers: list[Speaker] = []
    for number, some in enumerate(iter(lambda: list(itertools.islice(words, 100)), [])):
        if not seasoned or number % 20 == 0:
            for speaker in speakers:
                speaker.wire.close()
            speakers = [Speaker(dial(server), seasoned) for _ in range(100)]
        saying = list(zip(speakers, some, strict=False))
        for speaker, _word in saying:
            speaker.prepare()
        for speaker, _word in saying:
            speaker.prepared()
        for speaker, word in saying:
            speaker.say(word)
        for speaker, word in saying:
            speaker.check(word)
        other.expect_nothing()
        count += len(some)
    for speaker in speakers:
        speaker.wire.close()
    wait_until(lambda: (other.counts(FUNCTION) or (0, 0, 0))[1:] == (0, 0))
    other.can_do(FUNCTION)
    other.workloads()
    assert other.counts(FUNCTION) == (0, 0, 1)
    assert server.alive()
    return count


def test_every_packet_as_the_first_word(ours: Server, dial: Dial) -> None:
    words = ((letter,) for letter in ALL)

    assert speak(ours, dial, words, seasoned=False) == len(ALL)


def test_every_pair_as_the_first_words(ours: Server, dial: Dial) -> None:
    words = itertools.product(WHOLE, repeat=2)

    assert speak(ours, dial, words, seasoned=False) == len(WHOLE) ** 2


def test_every_pair_with_every_body_from_one_with_a_job_in_hand(ours: Server, dial: Dial) -> None:
    words = itertools.product(ALL, repeat=2)

    assert speak(ours, dial, words, seasoned=True) == len(ALL) ** 2


def test_many_triples_with_every_body_from_one_with_a_job_in_hand(ours: Server, dial: Dial) -> None:
    chance = random.Random(4730)
    words = (tuple(chance.choices(ALL, k=3)) for _ in range(5_000))

    assert speak(ours, dial, words, seasoned=True) == 5_000


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_triple_from_one_with_a_job_in_hand(ours: Server, dial: Dial) -> None:
    words = itertools.product(WHOLE, repeat=3)

    assert speak(ours, dial, words, seasoned=True) == len(WHOLE) ** 3
