"""A server under steady load keeps nothing: no memory, no descriptor, no job."""

from __future__ import annotations

import time

import pytest

from tests.conformance.conftest import Dial
from tests.conformance.servers import OURS, Server
from tests.conformance.wire import T, packet
from tests.support import wait_until

MEGABYTE = 1 << 20


def a_life(server: Server, number: int) -> None:
    """Come, work for others and for oneself, go: kindly or in the middle of something."""
    name = b"soak%d" % (number % 50)
    client, worker = server.connect(), server.connect()
    worker.can_do(name)
    handles = [
        client.submit(name, b"w" * (number % 5000), b"u%d" % (number % 7)) for _ in range(20)
    ]
    client.send_bytes(packet(T.SUBMIT_JOB_BG, name, b"", b"left behind") * 5)
    for _ in range(5):
        client.receive()
    worker.workloads()
    for _ in handles:
        assert client.receive().number == T.WORK_COMPLETE
    if number % 3:
        client.submit(name, b"nobody will ever do this")
        client.cut()
        worker.send_bytes(packet(T.SUBMIT_JOB, name, b"", b"half of it")[:-4])
        worker.cut()
    else:
        client.close()
        worker.close()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_server_under_steady_load_neither_leaks_nor_drifts(dial: Dial, seconds: float) -> None:
    with Server(OURS) as server:
        watcher = dial(server)
        began = time.monotonic()
        number, early, files = 0, 0, 0
        while (gone := time.monotonic() - began) < seconds:
            number += 1
            a_life(server, number)
            if not early and gone > seconds / 4:
                early, files = server.resident_bytes(), server.open_files()

        wait_until(lambda: server.open_files() <= max(files, 20))
        assert server.resident_bytes() - early < 8 * MEGABYTE

        def nothing_is_left() -> bool:
            watcher.send_bytes(b"status\n")
            rows = [line.split(b"\t")[1:] for line in watcher.read_list()]
            return bool(rows) and all(row == [b"0", b"0", b"0"] for row in rows)

        # The last of those who hung up may not be noticed yet.
        wait_until(nothing_is_left)
