"""Handshakes that stand still, or come all at once: those inside do not notice."""

from __future__ import annotations

import threading
import time

from geartrain.server.tls_session import HANDSHAKES
from tests.conformance.wire import T, Wire
from tests.server.conftest import Dial
from tests.server.tls import (
    Papers,
    Secure,
    connections,
    half_a_hello,
    outside,
)
from tests.support import patient, wait_until


def test_hundred_silent_handshakes_disturb_nobody_and_end_in_time(
    papers: Papers, secure: Secure, dial: Dial
) -> None:
    with papers.server() as server:
        worker, client = secure(server), secure(server)
        worker.can_do(b"f")
        silent = [dial(server) for _ in range(100)]
        wait_until(lambda: outside(server) == 100)

        began = time.monotonic()
        for number in range(200):
            handle = client.submit(b"f", b"%d" % number)
            assert worker.grab()[2] == b"%d" % number
            worker.send(T.WORK_COMPLETE, handle, b"")
            client.expect(T.WORK_COMPLETE, handle, b"")
        newcomer = secure(server)
        newcomer.expect_nothing()
        assert time.monotonic() - began < patient(3.0)

        server.advance(6.0)
        for wire in silent:
            wire.expect_close()
        assert connections(server) == 3
        newcomer.expect_nothing()


def test_handshakes_that_stand_still_give_way_to_those_who_wait(
    papers: Papers, secure: Secure, dial: Dial
) -> None:
    with papers.server(ssl_handshake_timeout=3600.0) as server:
        inside = secure(server)
        half = half_a_hello()
        stuck = [dial(server) for _ in range(HANDSHAKES + 20)]
        for wire in stuck:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: one._reception.door._shaking) == HANDSHAKES  # type: ignore[union-attr]
        )

        # Before it there are twenty that wait and will not get on either.
        began = time.monotonic()
        newcomer = secure(server)
        newcomer.expect_nothing()

        assert time.monotonic() - began < patient(5.0)
        inside.expect_nothing()
        # Nobody else had to go.
        assert connections(server) == 2 + len(stuck) - 21
        for wire in stuck[:20]:
            wire.expect_close()


def test_who_waits_for_a_place_and_goes_is_forgotten(papers: Papers, dial: Dial) -> None:
    with papers.server(ssl_handshake_timeout=3600.0) as server:
        half = half_a_hello()
        stuck = [dial(server) for _ in range(HANDSHAKES)]
        for wire in stuck:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: one._reception.door._shaking) == HANDSHAKES  # type: ignore[union-attr]
        )
        waiting = [dial(server) for _ in range(10)]
        for wire in waiting:
            wire.send_bytes(half)
        wait_until(
            lambda: server.call(lambda one: len(one._reception.door._waiting)) == 10  # type: ignore[union-attr]
        )

        for wire in waiting[:5]:
            wire.cut()
        for wire in waiting[5:]:
            wire.close()

        wait_until(lambda: connections(server) <= HANDSHAKES + 5)
        for wire in stuck:
            wire.close()
        wait_until(lambda: connections(server) == 0)
        assert outside(server) == 0
        assert server.call(lambda one: one._reception.door._shaking) == 0  # type: ignore[union-attr]


def test_three_hundred_come_at_once_and_all_are_let_in(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        wires: list[Wire] = []
        lock = threading.Lock()

        def come() -> None:
            for _ in range(30):
                wire = secure(server)
                with lock:
                    wires.append(wire)

        threads = [threading.Thread(target=come) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(wires) == 300
        for wire in wires:
            wire.expect_nothing()
        assert outside(server) == 0
