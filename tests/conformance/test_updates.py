"""What a worker says of its job, who hears it, and what the server remembers."""

from __future__ import annotations

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, hang_up, label
from tests.support import wait_until

ENDINGS: list[tuple[T, list[bytes]]] = [
    (T.WORK_COMPLETE, [b"result"]),
    (T.WORK_FAIL, []),
    (T.WORK_EXCEPTION, [b"reason"]),
]


@pytest.mark.parametrize("body", [b"", b"x", b"\0", b"a\0b\0\0", bytes(range(256)) * 100])
@pytest.mark.parametrize("number", [T.WORK_DATA, T.WORK_WARNING, T.WORK_COMPLETE], ids=label)
def test_data_is_relayed_as_it_is(
    server: Server, dial: Dial, name: bytes, number: int, body: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(number, handle, body)

    client.expect(number, handle, body)
    worker.expect_nothing()


def test_updates_come_in_the_order_they_were_sent(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()
    updates: list[tuple[T, tuple[bytes, ...]]] = []
    for number in range(100):
        count = b"%d" % number
        updates += [
            (T.WORK_DATA, (handle, count)),
            (T.WORK_STATUS, (handle, count, b"100")),
            (T.WORK_WARNING, (handle, count)),
        ]
    updates.append((T.WORK_COMPLETE, (handle, b"")))

    for number, arguments in updates:
        worker.send(number, *arguments)

    for number, arguments in updates:
        client.expect(number, *arguments)


@pytest.mark.parametrize(
    ("numerator", "denominator", "stored"),
    [
        (b"1", b"2", (b"1", b"2")),
        (b"0", b"0", (b"0", b"0")),
        (b"2147483647", b"2147483647", (b"2147483647", b"2147483647")),
        (b"0.5", b"1.0", (b"0", b"1")),
        (b"abc", b"", (b"0", b"0")),
        (b"", b"", (b"0", b"0")),
    ],
)
def test_status_is_relayed_as_it_is_and_stored_as_whole_numbers(
    server: Server,
    dial: Dial,
    name: bytes,
    numerator: bytes,
    denominator: bytes,
    stored: tuple[bytes, bytes],
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(T.WORK_STATUS, handle, numerator, denominator)

    client.expect(T.WORK_STATUS, handle, numerator, denominator)
    assert client.status(handle) == (b"1", b"1", *stored)


@pytest.mark.parametrize(
    "numerator", [b"-1", b"9" * 30, b"-" + b"9" * 30, b"1e300", b"\xff", b"inf"]
)
def test_absurd_status_is_relayed_and_status_stays_digits(
    ours: Server, dial: Dial, name: bytes, numerator: bytes
) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(T.WORK_STATUS, handle, numerator, numerator)

    client.expect(T.WORK_STATUS, handle, numerator, numerator)
    assert all(field.isdigit() for field in client.status(handle))


def test_fail_is_relayed_with_the_handle_alone(server: Server, dial: Dial, name: bytes) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(T.WORK_FAIL, handle)

    client.expect(T.WORK_FAIL, handle)
    client.expect_nothing()
    worker.expect_nothing()


@pytest.mark.parametrize(("number", "rest"), ENDINGS, ids=label)
def test_each_ending_ends_the_job(
    server: Server, dial: Dial, name: bytes, number: int, rest: list[bytes]
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(number, handle, *rest)

    client.receive()
    assert client.status(handle) == (b"0", b"0", b"0", b"0")
    assert client.counts(name) == (0, 0, 1)


@pytest.mark.parametrize(("number", "rest"), ENDINGS, ids=label)
def test_background_job_ends_without_a_word(
    server: Server, dial: Dial, name: bytes, number: int, rest: list[bytes]
) -> None:
    client, worker = dial(server), dial(server)
    client.send(T.OPTION_REQ, b"exceptions")
    client.expect(T.OPTION_RES, b"exceptions")
    worker.can_do(name)
    handle = client.submit(name, number=T.SUBMIT_JOB_BG)
    worker.grab()
    worker.send(T.WORK_DATA, handle, b"d")
    worker.send(T.WORK_WARNING, handle, b"w")
    worker.send(T.WORK_STATUS, handle, b"1", b"2")
    worker.expect_nothing()
    assert client.status(handle) == (b"1", b"1", b"1", b"2")

    worker.send(number, handle, *rest)

    worker.expect_nothing()
    client.expect_nothing()
    assert client.status(handle) == (b"0", b"0", b"0", b"0")


@pytest.mark.parametrize("number", [T.WORK_COMPLETE, T.WORK_DATA, T.WORK_EXCEPTION], ids=label)
def test_missing_nul_after_the_handle_means_empty_data(
    ours: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, worker = dial(ours), dial(ours)
    client.send(T.OPTION_REQ, b"exceptions")
    client.expect(T.OPTION_RES, b"exceptions")
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(number, handle)

    client.expect(number, handle, b"")
    worker.expect_nothing()


# ── exceptions ───────────────────────────────────────────────────────────────


def test_exception_reaches_a_client_that_asked_for_it(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    client.send(T.OPTION_REQ, b"exceptions")
    client.expect(T.OPTION_RES, b"exceptions")
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(T.WORK_EXCEPTION, handle, b"bo\0om")

    client.expect(T.WORK_EXCEPTION, handle, b"bo\0om")
    client.expect_nothing()


def test_client_may_ask_for_exceptions_after_submitting(
    server: Server, dial: Dial, name: bytes
) -> None:
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    client.send(T.OPTION_REQ, b"exceptions")
    client.expect(T.OPTION_RES, b"exceptions")
    worker.send(T.WORK_EXCEPTION, handle, b"boom")

    client.expect(T.WORK_EXCEPTION, handle, b"boom")


def test_exception_is_a_plain_failure_to_a_client_that_did_not_ask(
    ours: Server, dial: Dial, name: bytes
) -> None:
    asked, plain, worker = dial(ours), dial(ours), dial(ours)
    asked.send(T.OPTION_REQ, b"exceptions")
    asked.expect(T.OPTION_RES, b"exceptions")
    worker.can_do(name)
    handle = asked.submit(name, b"w", b"same")
    assert plain.submit(name, b"w", b"same") == handle
    worker.grab()

    worker.send(T.WORK_EXCEPTION, handle, b"boom")

    asked.expect(T.WORK_EXCEPTION, handle, b"boom")
    plain.expect(T.WORK_FAIL, handle)
    asked.expect_nothing()
    plain.expect_nothing()


def test_exceptions_may_be_switched_on_for_everybody(
    start: Start, kind: str, dial: Dial, name: bytes
) -> None:
    server = start(kind, "--exceptions")
    client, worker = dial(server), dial(server)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(T.WORK_EXCEPTION, handle, b"boom")

    client.expect(T.WORK_EXCEPTION, handle, b"boom")


@pytest.mark.parametrize(("first", "rest"), ENDINGS, ids=label)
@pytest.mark.parametrize(("second", "rest2"), ENDINGS, ids=label)
def test_second_ending_of_a_job_just_ended_is_swallowed(
    ours: Server,
    dial: Dial,
    name: bytes,
    first: int,
    rest: list[bytes],
    second: int,
    rest2: list[bytes],
) -> None:
    client, worker = dial(ours), dial(ours)
    worker.can_do(name)
    handle = client.submit(name)
    worker.grab()

    worker.send(first, handle, *rest)
    worker.send(second, handle, *rest2)

    worker.expect_nothing()
    client.receive()
    client.expect_nothing()


# ── status, from before to after ─────────────────────────────────────────────


@pytest.mark.parametrize("number", [T.SUBMIT_JOB, T.SUBMIT_JOB_BG], ids=label)
def test_status_follows_the_job_through_its_life(
    server: Server, dial: Dial, name: bytes, number: int
) -> None:
    client, worker, second = dial(server), dial(server), dial(server)
    asking = dial(server)
    handle = client.submit(name, b"w", b"u", number)
    assert asking.status(handle) == (b"1", b"0", b"0", b"0")

    worker.can_do(name)
    worker.grab()
    assert asking.status(handle) == (b"1", b"1", b"0", b"0")

    worker.send(T.WORK_STATUS, handle, b"3", b"7")
    worker.expect_nothing()
    assert asking.status(handle) == (b"1", b"1", b"3", b"7")

    hang_up(worker, asking)
    assert asking.status(handle) == (b"1", b"0", b"0", b"0")

    second.can_do(name)
    second.grab()
    second.send(T.WORK_COMPLETE, handle, b"r")
    second.expect_nothing()
    assert asking.status(handle) == (b"0", b"0", b"0", b"0")


def test_status_of_an_abandoned_job_is_unknown(ours: Server, dial: Dial, name: bytes) -> None:
    client, asking = dial(ours), dial(ours)
    handle = client.submit(name)

    client.cut()

    wait_until(lambda: asking.status(handle) == (b"0", b"0", b"0", b"0"))


def test_exceptions_switched_on_are_on_in_every_connection(
    start: Start, dial: Dial, name: bytes
) -> None:
    server = start(OURS, "--exceptions")
    worker = dial(server)
    worker.can_do(name)
    for _ in range(3):
        client = dial(server)
        handle = client.submit(name)
        worker.grab()
        worker.send(T.WORK_EXCEPTION, handle, b"boom")
        client.expect(T.WORK_EXCEPTION, handle, b"boom")
