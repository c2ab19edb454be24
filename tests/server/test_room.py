"""What the process of a server has in memory, with long queues and large bodies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conformance.servers import Server
from tests.conformance.wire import T, packet
from tests.server.keeping import grab, serving, totals
from tests.server.test_backlog import numbers
from tests.support import wait_until

# Bodies are bytes in any build and under any Python.
pytestmark = pytest.mark.once

MEGABYTE = 2**20


def resident(server: Server, key: str = "VmRSS") -> int:
    """Bytes that the server's process has in memory."""
    said = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(rf"{key}:\s+(\d+) kB", said)
    assert found is not None
    return int(found[1]) * 1024


def test_memory_does_not_grow_with_the_queue_and_the_order_is_kept(tmp_path: Path) -> None:
    count = 20_000
    with serving(tmp_path) as server:
        client = server.connect()
        client.submit(b"g", b"", b"", T.SUBMIT_JOB_BG)
        before = resident(server)
        for first in range(0, count, 1000):
            client.socket.sendall(
                b"".join(
                    packet(T.SUBMIT_JOB_BG, b"f", b"", b"%d" % n + b" " * 2000)
                    for n in range(first, first + 1000)
                )
            )
            for _ in range(1000):
                client.created()
        assert totals(server)[b"f"] == count
        # They are 40 MB, and would be 50 in memory.
        assert resident(server, "VmHWM") < before + 35 * MEGABYTE

        worker = server.connect()
        worker.can_do(b"f")
        for number in numbers(0, count):
            job = grab(worker)
            assert job[4].rstrip() == number
            worker.socket.sendall(packet(T.WORK_COMPLETE, job[0], b""))
        assert resident(server, "VmHWM") < before + 50 * MEGABYTE


def test_memory_of_large_bodies_is_given_back(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        client, worker = server.connect(), server.connect()
        client.submit(b"f", b"", b"", T.SUBMIT_JOB_BG)
        worker.can_do(b"f")
        worker.send(T.WORK_COMPLETE, grab(worker)[0], b"")
        idle = resident(server)
        for _ in range(64):
            client.submit(b"f", b"x" * 4 * MEGABYTE, b"", T.SUBMIT_JOB_BG)
        assert resident(server) < idle + 128 * MEGABYTE
        for _ in range(64):
            job = grab(worker)
            assert len(job[4]) == 4 * MEGABYTE
            worker.send(T.WORK_COMPLETE, job[0], b"y" * MEGABYTE)

        wait_until(lambda: resident(server) < 1.3 * idle + 50 * MEGABYTE, within=60)
