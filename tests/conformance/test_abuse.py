"""Peers that misbehave cost the server little, and the others nothing."""

from __future__ import annotations

import random
import resource
import socket
import time

import pytest

from tests.conformance.conftest import Dial, Start
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import Packet, T, Wire, packet
from tests.support import patient, wait_until

MEGABYTE = 1 << 20


def connections(wire: Wire) -> int:
    """How many the server has."""
    wire.send_bytes(b"workers\n")
    return len(wire.read_list())


@pytest.mark.parametrize("count", [pytest.param(10_000, marks=pytest.mark.timeout(120))])
def test_abrupt_disconnects_leave_nothing_behind(start: Start, dial: Dial, count: int) -> None:
    server = start(OURS)
    wire = dial(server)
    wire.send_bytes(b"create function f\n")
    wire.expect_bytes(b"OK\r\n")
    chance = random.Random(4730)
    sayings = [
        b"",
        b"\0",
        b"stat",
        b"status\nworkers\n",
        packet(T.CAN_DO, b"f"),
        packet(T.CAN_DO, b"f") + packet(T.PRE_SLEEP),
        packet(T.CAN_DO_TIMEOUT, b"f", b"100000") + packet(T.GRAB_JOB),
        packet(T.SUBMIT_JOB, b"f", b"", b"w"),
        packet(T.SUBMIT_JOB_LOW, b"f", b"same", b"w"),
        packet(T.SUBMIT_JOB_HIGH, b"f", b"-", b"w" * 100) + packet(T.GET_STATUS_UNIQUE, b"same"),
        packet(T.CAN_DO, b"f") + packet(T.SUBMIT_JOB, b"f", b"", b"w") + packet(T.GRAB_JOB),
        packet(T.CAN_DO, b"f") + packet(T.SUBMIT_JOB, b"f", b"same", b"w") + packet(T.GRAB_JOB_ALL),
        packet(T.SUBMIT_JOB, b"f", b"", b"w" * 5000)[:-100],
        packet(T.OPTION_REQ, b"exceptions") + packet(T.ECHO_REQ, b"x" * 1000),
        b"\0NO!" + bytes(8),
    ]
    wire.expect_nothing()
    files, lines = server.open_files(), connections(wire)

    held: list[Wire] = []
    for _ in range(count):
        one = server.connect()
        one.socket.sendall(chance.choice(sayings))
        held.append(one)
        if len(held) > 50:
            held.pop(chance.randrange(len(held))).cut()
    for one in held:
        one.cut()

    wait_until(lambda: connections(wire) == lines, within=20)
    wait_until(lambda: server.open_files() == files)
    wait_until(lambda: wire.counts(b"f") == (0, 0, 0))
    assert wire.queued(b"f") == (0, 0, 0)
    wire.send_bytes(b"show jobs\nshow unique jobs\n")
    wire.expect_bytes(b".\n.\n")
    wire.can_do(b"f")
    wire.grab_none()


def test_client_that_does_not_read_is_bounded_and_holds_up_nobody(start: Start, dial: Dial) -> None:
    server = start(OURS, "--max-output=32MiB")
    worker, other = dial(server), dial(server)
    slow = dial(server, receive_buffer=4096)
    worker.can_do(b"f")
    handle = slow.submit(b"f")
    worker.grab()
    before = server.resident_bytes()
    most = 0

    piece = packet(T.WORK_DATA, handle, b"x" * MEGABYTE)
    for number in range(200):
        worker.socket.sendall(piece)
        if number % 20 == 0:
            most = max(most, server.resident_bytes() - before)
            other.expect_nothing()

    # Its client may be gone by now, but the job is the worker's, and goes on.
    worker.expect_nothing()
    most = max(most, server.resident_bytes() - before)
    assert most < 60 * MEGABYTE
    worker.send(T.WORK_COMPLETE, handle, b"")
    worker.expect_nothing()
    assert other.counts(b"f") == (0, 0, 1)


def test_flood_of_echoes_that_nobody_reads_is_bounded(start: Start, dial: Dial) -> None:
    server = start(OURS)
    flood, other = dial(server, receive_buffer=4096), dial(server)
    before = server.resident_bytes()
    piece = packet(T.ECHO_REQ, b"x" * MEGABYTE)

    flood.socket.settimeout(0.5)
    sent, position = 0, 0
    try:
        while sent < 200 * len(piece):
            count = flood.socket.send(piece[position:])
            position = (position + count) % len(piece)
            sent += count
    except (TimeoutError, ConnectionError):
        pass

    assert server.resident_bytes() - before < 100 * MEGABYTE
    other.expect_nothing()
    # If it was held back and not cut off, then nothing of it was lost.
    if sent < 200 * len(piece):
        flood.socket.settimeout(10)
        for _ in range(sent // len(piece)):
            assert len(flood.receive().body) == MEGABYTE


def test_many_small_unread_answers_are_bounded(start: Start, dial: Dial) -> None:
    server = start(OURS)
    flood, other = dial(server, receive_buffer=4096), dial(server)
    for number in range(200):
        other.submit(b"f%d" % number, number=T.SUBMIT_JOB_BG)
    before = server.resident_bytes()
    piece = b"status\n" * 1000

    flood.socket.settimeout(0.5)
    try:
        for _ in range(100):
            flood.socket.sendall(piece)
    except (TimeoutError, ConnectionError):
        pass

    # 100,000 answers of 2 KB each, if nobody minded.
    assert server.resident_bytes() - before < 50 * MEGABYTE
    other.expect_nothing()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_thousands_of_idle_connections_are_served(start: Start, dial: Dial) -> None:
    count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)
    server = start(OURS)
    wire = dial(server)
    before = server.resident_bytes()
    idle: list[socket.socket] = []
    try:
        for number in range(count):
            one = socket.create_connection(server.address)
            one.sendall(packet(T.CAN_DO, b"f%d" % (number % 10)) + packet(T.PRE_SLEEP))
            idle.append(one)
        wait_until(lambda: connections(wire) == count + 1, within=30)

        started = time.monotonic()
        wire.expect_nothing()
        assert time.monotonic() - started < patient(1)
        cpu = server.cpu_seconds()
        time.sleep(0.5)  # long enough to see whether idling costs anything
        assert server.cpu_seconds() - cpu < 0.25
        assert server.resident_bytes() - before < count * 40_000
        wire.submit(b"f3")
        idle[3].settimeout(10)
        assert idle[3].recv(100) == packet(T.NOOP, magic=b"\0RES")
    finally:
        for one in idle:
            one.close()
    wait_until(lambda: connections(wire) == 1, within=30)


def test_running_out_of_files_neither_spins_nor_ends_the_server(start: Start, dial: Dial) -> None:
    server = start(OURS, limit_files=64)
    first = dial(server)
    first.expect_nothing()
    waiting = [socket.create_connection(server.address) for _ in range(100)]
    try:
        wait_until(lambda: server.open_files() >= 60)
        cpu = server.cpu_seconds()
        time.sleep(1.0)  # long enough to see whether waiting costs anything
        assert server.cpu_seconds() - cpu < 0.5
        first.expect_nothing()
    finally:
        for one in waiting:
            one.close()

    for _ in range(20):
        wire = dial(server)
        wire.expect_nothing()
        wire.close()
    first.expect_nothing()


@pytest.mark.parametrize("seed", range(5))
def test_noise_harms_nobody(ours: Server, dial: Dial, seed: int) -> None:
    chance = random.Random(seed)
    other = dial(ours)
    for _ in range(200):
        wire = ours.connect()
        noise = chance.randbytes(chance.randrange(1, 200))
        start = chance.choice([b"", b"\0REQ", b"\0RES", b"\0REQ\0\0\0", b"status\n", b"\0"])
        try:
            wire.socket.sendall(start + noise)
        except ConnectionError:
            pass
        wire.close()
    other.expect_nothing()
    assert ours.alive()


def test_noise_inside_good_packets_harms_nobody(ours: Server, dial: Dial) -> None:
    chance = random.Random(4730)
    other = dial(ours)
    for _ in range(20):
        wire = ours.connect()
        for _ in range(100):
            body = chance.randbytes(chance.randrange(0, 60)).replace(b"\x07", b"\0")
            wire.socket.sendall(packet(chance.randrange(0, 50), body))
        wire.send(T.ECHO_REQ, b"and now?")
        while wire.receive() != Packet(T.ECHO_RES, b"and now?"):
            pass
        wire.close()
    other.expect_nothing()
    assert ours.alive()
