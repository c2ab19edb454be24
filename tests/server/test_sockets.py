"""A server on real sockets: who closes, who reads slowly, who says nothing."""

from __future__ import annotations

import contextlib
import gc
import random
import socket
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from geartrain.errors import ConfigurationError
from geartrain.server import JobServer
from geartrain.server.settings import Settings
from geartrain.server.sweeper import PROGRESS_BYTES, sweep_seconds
from geartrain.testing import EmbeddedServer
from tests.conformance.wire import T, Wire, packet
from tests.server.conftest import Dial
from tests.support import patient, wait_until

MEGABYTE = 2**20


def connections(server: EmbeddedServer) -> int:
    """How many there are, counted on the server's own thread."""
    return server.call(lambda one: one.connections)


def read_to_the_end(wire: Wire) -> bytes:
    """Everything until the server hangs up."""
    data = b""
    wire.socket.settimeout(patient(20.0))
    while piece := wire.socket.recv(1 << 20):
        data += piece
    return data


# ── closing ──────────────────────────────────────────────────────────────────


def test_who_stops_sending_gets_its_answers_first(dial: Dial) -> None:
    with EmbeddedServer() as server:
        wire = dial(server)
        wire.send_bytes(b"getpid\n" + packet(T.ECHO_REQ, b"x" * 100_000) + b"status\n")
        wire.end_sending()

        data = read_to_the_end(wire)

        assert data.startswith(b"OK ")
        assert data.endswith(b"x" * 100 + b".\n")
        wait_until(lambda: connections(server) == 0)


def test_who_stops_sending_gets_a_long_list_whole(dial: Dial) -> None:
    with EmbeddedServer(pause_output=8192) as server:
        server.call(
            lambda one: [one.broker.create_function(b"function-%d" % n) for n in range(30_000)]
        )
        wire = dial(server, receive_buffer=4096)
        wire.send_bytes(b"status\n")
        wire.end_sending()

        lines = read_to_the_end(wire).split(b"\n")

        assert len(lines) == 30_002
        assert lines[29_999:] == [b"function-29999\t0\t0\t0", b".", b""]


def test_who_stops_sending_waits_for_no_job_any_more(dial: Dial) -> None:
    with EmbeddedServer() as server:
        wire, admin = dial(server), dial(server)
        wire.submit(b"f")
        wire.end_sending()

        assert read_to_the_end(wire) == b""
        wait_until(lambda: admin.counts(b"f") == (0, 0, 0))


def test_half_a_packet_and_the_end_is_no_job(dial: Dial) -> None:
    with EmbeddedServer() as server:
        wire = dial(server)
        wire.send_bytes(packet(T.SUBMIT_JOB_BG, b"f", b"", b"w" * 100_000)[:-1])
        wire.end_sending()

        assert read_to_the_end(wire) == b""
        assert server.call(lambda one: one.broker.idle)


def test_abrupt_goodbyes_leave_no_object_behind(dial: Dial) -> None:
    with EmbeddedServer() as server:
        chance = random.Random(4730)
        watcher = dial(server)
        sayings = [
            b"", b"\0RE", b"stat", b"status\nworkers\n",
            packet(T.CAN_DO, b"f") + packet(T.PRE_SLEEP),
            packet(T.CAN_DO, b"g") + packet(T.CAN_DO, b"f") + packet(T.GRAB_JOB),
            packet(T.SUBMIT_JOB, b"f", b"same", b"w") + packet(T.SUBMIT_JOB_BG, b"g", b"", b"w"),
            packet(T.SUBMIT_JOB, b"f", b"", b"w" * 200_000)[:-1], b"\0NO!" + bytes(8),
        ]  # fmt: skip

        def churn(count: int) -> None:
            for _ in range(count):
                with contextlib.suppress(OSError):
                    wire = Wire((server.host, server.port))
                    wire.socket.sendall(chance.choice(sayings))
                    wire.cut()
            wait_until(lambda: connections(server) == 1)
            watcher.send_bytes(packet(T.CAN_DO, b"g"))
            watcher.workloads()

        churn(50)
        gc.collect()
        gc.disable()
        try:
            churn(500)
            # gearmand does without the collector, so nothing may need it.
            left = server.call(lambda one: gc.collect())
        finally:
            gc.enable()

        assert left < 20
        state = server.call(lambda one: one.broker.state)
        assert len(state.peers) == 1
        assert not state.jobs
        assert not state.holders
        assert len(state.crews) <= 1


# ── slow readers ─────────────────────────────────────────────────────────────


def test_who_does_not_read_what_others_report_is_let_go_and_the_worker_goes_on(
    dial: Dial,
) -> None:
    with EmbeddedServer(pause_output=8192, max_output=500_000) as server:
        worker, slow = dial(server), dial(server, receive_buffer=4096)
        worker.can_do(b"f")
        handle = slow.submit(b"f")
        worker.grab()

        for _ in range(200):
            worker.send(T.WORK_DATA, handle, b"x" * 100_000)

        worker.expect_nothing()
        wait_until(lambda: connections(server) == 1)
        worker.send(T.WORK_COMPLETE, handle, b"")
        worker.expect_nothing()
        assert worker.counts(b"f") == (0, 0, 1)


def test_two_large_packets_at_once_cut_nobody_off_and_a_third_does(dial: Dial) -> None:
    with EmbeddedServer(max_output=500_000) as server:
        worker, slow, hopeless = (
            dial(server), dial(server, receive_buffer=4096), dial(server, receive_buffer=4096),
        )  # fmt: skip
        worker.can_do(b"f")
        results = [bytes([n]) * 8 * MEGABYTE for n in range(3)]
        for wire, count in ((slow, 2), (hopeless, 3)):
            handles = [wire.submit(b"f") for _ in range(count)]
            wire.send(T.SET_CLIENT_ID, b"large-%d" % count)
            # Small ones in front and behind: they are counted, and are few.
            for handle, result in zip(handles, results, strict=False):
                worker.grab()
                worker.send(T.WORK_DATA, handle, b"small")
                worker.send(T.WORK_COMPLETE, handle, result)
                worker.expect_nothing()

        worker.send_bytes(b"workers\n")
        there = b"\n".join(worker.read_list())
        assert b" large-2 " in there
        assert b" large-3 " not in there
        for result in results[:2]:
            assert slow.receive().number == T.WORK_DATA
            assert slow.receive().body.endswith(result)


def test_who_lets_small_reports_pile_up_behind_two_large_packets_is_let_go(dial: Dial) -> None:
    with EmbeddedServer(max_output=500_000) as server:
        worker, slow = dial(server), dial(server, receive_buffer=4096)
        worker.can_do(b"f")
        handle = slow.submit(b"f")
        worker.grab()
        for _ in range(2):
            worker.send(T.WORK_DATA, handle, b"x" * 8 * MEGABYTE)
        worker.expect_nothing()
        assert connections(server) == 2

        began = time.monotonic()
        worker.send_bytes(packet(T.WORK_DATA, handle, b"tiny") * 20_000)
        worker.expect_nothing()

        wait_until(lambda: connections(server) == 1)
        assert time.monotonic() - began < patient(5.0)


def test_who_does_not_read_its_own_answers_is_waited_for_and_loses_nothing(dial: Dial) -> None:
    with EmbeddedServer(pause_output=8192, max_output=500_000) as server:
        slow, other = dial(server, receive_buffer=4096), dial(server)
        count = 400
        said = b"".join(packet(T.ECHO_REQ, b"%06d" % n + b"x" * 50_000) for n in range(count))
        sender = threading.Thread(target=slow.socket.sendall, args=(said,))
        sender.start()

        wait_until(
            lambda: server.call(
                lambda one: any(p.held_back for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
            )
        )
        held = server.call(
            lambda one: max(p.out_bytes for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
        )
        other.expect_nothing()
        for n in range(count):
            slow.expect(T.ECHO_RES, b"%06d" % n + b"x" * 50_000)
        sender.join()

        assert held < 200_000


def test_long_answers_to_one_do_not_keep_the_others_waiting(dial: Dial) -> None:
    with EmbeddedServer() as server:
        server.call(
            lambda one: [one.broker.create_function(b"function-%d" % n) for n in range(20_000)]
        )
        greedy, other = dial(server), dial(server)
        stop = threading.Event()

        def read_on() -> None:
            greedy.socket.settimeout(0.2)
            while not stop.is_set():
                try:
                    if not greedy.socket.recv(1 << 20):
                        return
                except OSError:
                    continue

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            # As fast as it reads, this is a minute's work for the server.
            greedy.socket.sendall(b"status\n" * 2_000)
            began = time.monotonic()
            for _ in range(3):
                other.expect_nothing()
            took = time.monotonic() - began
        finally:
            stop.set()
            reader.join()

        assert took < patient(6.0)


# ── bounds ───────────────────────────────────────────────────────────────────


def test_no_more_than_max_connections_at_once(dial: Dial) -> None:
    with EmbeddedServer(max_connections=2) as server:
        first, second = dial(server), dial(server)
        first.expect_nothing()
        second.expect_nothing()

        dial(server).expect_close()
        second.close()
        wait_until(lambda: connections(server) == 1)

        dial(server).expect_nothing()
        first.expect_nothing()


def test_who_says_nothing_is_closed_after_the_handshake_timeout(dial: Dial) -> None:
    with EmbeddedServer(handshake_timeout=60.0) as server:
        silent, half, talker = dial(server), dial(server), dial(server)
        half.send_bytes(b"\0REQ\0")
        talker.expect_nothing()
        wait_until(lambda: connections(server) == 3)

        server.advance(59.0)
        assert connections(server) == 3
        server.advance(2.0)

        silent.expect_close()
        half.expect_close()
        talker.expect_nothing()
        server.advance(100_000.0)
        talker.expect_nothing()


@pytest.mark.parametrize(
    ("handshake", "stalled", "sweep"),
    [
        (300.0, 120.0, 5.0), (0.0, 0.0, 5.0), (2.0, 120.0, 0.5), (300.0, 1.0, 0.25),
        (0.0, 0.4, 0.1), (0.001, 0.0, 0.05),
    ],
)  # fmt: skip
def test_stalled_connections_are_looked_for_often_enough_for_the_shortest_limit(
    handshake: float, stalled: float, sweep: float
) -> None:
    settings = Settings(handshake_timeout=handshake, packet_timeout=stalled)

    assert sweep_seconds(settings) == pytest.approx(sweep)


def test_who_stops_in_the_middle_of_a_packet_is_closed_after_the_packet_timeout(
    dial: Dial,
) -> None:
    with EmbeddedServer(packet_timeout=30.0) as server:
        stalled, slow, idle = dial(server), dial(server), dial(server)
        for wire in (stalled, slow, idle):
            wire.expect_nothing()
        stalled.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 100_000)[:-1])
        body = b"x" * 10 * PROGRESS_BYTES
        whole = packet(T.ECHO_REQ, body)

        # A large packet over a slow line is something else.
        for count in range(1, 10):
            done = count * PROGRESS_BYTES
            slow.send_bytes(whole[done - PROGRESS_BYTES : done])
            wait_until(partial(server.call, partial(_somebody_holds, done - 12)))
            server.advance(20.0)

        stalled.expect_close()
        slow.send_bytes(whole[9 * PROGRESS_BYTES :])
        slow.expect(T.ECHO_RES, body)
        idle.expect_nothing()


def test_who_sends_a_byte_now_and_then_is_closed_after_the_packet_timeout(dial: Dial) -> None:
    with EmbeddedServer(packet_timeout=30.0) as server:
        loris, talker = dial(server), dial(server)
        for wire in (loris, talker):
            wire.expect_nothing()
        whole = packet(T.ECHO_REQ, b"x" * 100)
        for count in (1, 2, 3, 4):
            # Who finishes one packet and begins the next gets on, however much is left over.
            talker.send_bytes(whole[count - 1 :] + whole[:count])
            talker.expect(T.ECHO_RES, b"x" * 100)
            server.advance(20.0)
            loris.send_bytes(whole[count - 1 : count])
            wait_until(partial(server.call, partial(_somebody_holds, count)))

        loris.expect_close()
        talker.send_bytes(whole[4:])
        talker.expect(T.ECHO_RES, b"x" * 100)


def test_first_packet_may_take_longer_than_the_handshake_if_it_gets_on(dial: Dial) -> None:
    with EmbeddedServer(handshake_timeout=30.0) as server:
        wire = dial(server)
        whole = packet(T.ECHO_REQ, b"x" * 4 * PROGRESS_BYTES)
        for count in range(1, 5):
            done = count * PROGRESS_BYTES
            wire.send_bytes(whole[done - PROGRESS_BYTES : done])
            wait_until(partial(server.call, partial(_somebody_holds, done - 12)))
            server.advance(20.0)

        wire.send_bytes(whole[4 * PROGRESS_BYTES :])
        wire.expect(T.ECHO_RES, b"x" * 4 * PROGRESS_BYTES)


def _somebody_holds(count: int, server: JobServer) -> bool:
    return any(
        peer.reader.held == count  # type: ignore[attr-defined]
        for peer in server.broker.state.peers.values()
    )


def test_packet_over_the_limit_is_told_and_closed_and_others_stay(dial: Dial) -> None:
    with EmbeddedServer(max_packet_bytes=10_000) as server:
        wire, other = dial(server), dial(server)

        wire.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 20_000)[:500])

        wire.expect_error(b"ARGUMENT_TOO_LARGE")
        wire.expect_close()
        other.expect_nothing()


def test_memory_budget_refuses_and_recovers(dial: Dial) -> None:
    with EmbeddedServer(max_memory=MEGABYTE) as server:
        wire = dial(server)
        wire.can_do(b"f")
        wire.submit(b"f", b"x" * 900_000, number=T.SUBMIT_JOB_BG)

        wire.send(T.SUBMIT_JOB_BG, b"f", b"", b"x" * 900_000)
        wire.expect_error(
            b"QUEUE_FULL",
            b"The server's memory budget for jobs (max-memory, 1048576 bytes) is used up;"
            b" submit later",
        )
        wire.workloads()

        wire.submit(b"f", b"x" * 900_000, number=T.SUBMIT_JOB_BG)


def test_workload_of_64_mebibytes_there_and_back(dial: Dial) -> None:
    with EmbeddedServer() as server:
        worker, client, other = dial(server), dial(server), dial(server)
        worker.can_do(b"f")
        workload = random.Random(1).randbytes(MEGABYTE) * 64
        sender = threading.Thread(
            target=client.send_bytes, args=(packet(T.SUBMIT_JOB, b"f", b"", workload),)
        )

        sender.start()
        other.expect_nothing()
        handle = client.created()
        sender.join()
        grabbed = worker.grab()
        assert grabbed == (handle, b"f", workload)
        back = threading.Thread(
            target=worker.send_bytes, args=(packet(T.WORK_COMPLETE, handle, workload),)
        )
        back.start()
        heard = client.receive()
        back.join()

        assert heard.number == T.WORK_COMPLETE
        assert heard.body == handle + b"\0" + workload
        worker.expect_nothing()
        assert server.call(lambda one: one.broker.state.memory) == 0


# ── where it listens ─────────────────────────────────────────────────────────


def speak(family: socket.AddressFamily, address: object) -> bytes:
    """Ask the version there."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(patient(10.0))
        sock.connect(address)  # type: ignore[arg-type]
        sock.sendall(b"version\n")
        return sock.recv(100)


def test_listens_on_ipv4_ipv6_and_a_unix_socket_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "gear.sock")
    with EmbeddedServer(listen=("127.0.0.1:0", "[::1]:0", f"unix:{path}")) as server:
        four, six, local = server.server.addresses

        assert speak(socket.AF_INET, four).startswith(b"OK 1.1.")
        assert speak(socket.AF_INET6, six).startswith(b"OK 1.1.")
        assert speak(socket.AF_UNIX, local).startswith(b"OK 1.1.")
        assert Path(path).stat().st_mode & 0o777 == 0o660

    assert not Path(path).exists()


def test_unix_socket_left_behind_by_a_killed_server_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "gear.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)

    with EmbeddedServer(listen=(f"unix:{path}",), unix_mode="600"):
        assert speak(socket.AF_UNIX, path).startswith(b"OK")
        assert Path(path).stat().st_mode & 0o777 == 0o600


def test_unix_socket_of_a_living_server_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "gear.sock")
    with EmbeddedServer(listen=(f"unix:{path}",)):
        with pytest.raises(ConfigurationError, match="a server answers there"):
            EmbeddedServer(listen=(f"unix:{path}",)).start()

        assert speak(socket.AF_UNIX, path).startswith(b"OK")


def test_unix_socket_whose_server_is_too_busy_to_answer_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "gear.sock")
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(socket.socket(socket.AF_UNIX))
        busy.bind(path)
        busy.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(path)  # the backlog is full now

        with pytest.raises(ConfigurationError, match="a server answers there"):
            EmbeddedServer(listen=(f"unix:{path}",)).start()

    assert Path(path).exists()


def test_unix_socket_of_a_server_that_cannot_open_all_its_doors_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "gear.sock"
    with pytest.raises(ConfigurationError, match="no/such"):
        EmbeddedServer(listen=(f"unix:{path}", "unix:/no/such/folder/gear.sock")).start()

    assert not path.exists()


def test_unix_socket_that_another_server_has_made_in_our_place_is_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gear.sock"
    with EmbeddedServer(listen=(f"unix:{path}",)) as first:
        path.rename(tmp_path / "moved")  # as somebody does who starts the next one early
        with EmbeddedServer(listen=(f"unix:{path}",)):
            first.stop()

            assert speak(socket.AF_UNIX, str(path)).startswith(b"OK")


def test_who_goes_without_a_word_on_a_unix_socket_while_answers_wait_is_forgotten(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "gear.sock")
    with EmbeddedServer(listen=(f"unix:{path}",), pause_output=8192) as server:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(path)
                sock.setblocking(False)
                flood = packet(T.ECHO_REQ, b"x" * 50_000) * 20 + packet(T.CAN_DO, b"f")
                with contextlib.suppress(BlockingIOError):
                    sock.send(flood)
                    sock.send(packet(T.SUBMIT_JOB, b"f", b"", b"w") + packet(T.GRAB_JOB))

        # Connections are accepted in their order: when this one is heard, all were.
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(path)
            last.sendall(b"version\n")
            assert last.recv(100).startswith(b"OK ")
        wait_until(lambda: connections(server) == 0)
        state = server.call(lambda one: one.broker.state)
        assert not state.peers
        assert not state.jobs
        assert not state.crews
        assert all(function.workers == 0 for function in state.functions.values())


def test_port_in_use_is_named_with_the_way_out() -> None:
    with EmbeddedServer() as server, pytest.raises(ConfigurationError) as caught:
        EmbeddedServer(listen=(server.address,)).start()

    assert f"{server.settings.listen[0].rpartition(':')[0]}:" in str(caught.value)
    assert "the port is in use" in str(caught.value)
    assert "--port" in str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "no.such.host.invalid:1", "[::1", "[::1]x", "127.0.0.1:99999", "127.0.0.1:x-y-z",
        "a..b:1", "x" * 100 + ":1", "unix:/no/such/folder/gear.sock", "unix:" + "/x" * 100,
        "127.0.0.1:" + "1" * 5000,
    ],
)  # fmt: skip
def test_address_that_cannot_be_is_named(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedServer(listen=(address,)).start()

    assert address.rpartition(":")[2][:20] in str(caught.value)


def test_all_or_nothing_is_bound() -> None:
    with EmbeddedServer() as taken:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            free = probe.getsockname()[1]
        with pytest.raises(ConfigurationError):
            EmbeddedServer(listen=(f"127.0.0.1:{free}", taken.address)).start()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free))


# ── the end ──────────────────────────────────────────────────────────────────


def test_graceful_end_waits_for_jobs_and_refuses_new_ones(dial: Dial) -> None:
    with EmbeddedServer() as server:
        worker, client = dial(server), dial(server)
        worker.can_do(b"f")
        handle = client.submit(b"f")
        background = client.submit(b"f", b"later", number=T.SUBMIT_JOB_BG)
        server.call(JobServer.drain)

        client.send(T.SUBMIT_JOB, b"f", b"", b"w")
        client.expect_error(b"QUEUE_ERROR")
        late = dial(server)
        late.can_do(b"f")
        assert late.grab()[0] == handle
        late.send(T.WORK_COMPLETE, handle, b"done")
        client.expect(T.WORK_COMPLETE, handle, b"done")
        assert worker.grab()[0] == background
        worker.send(T.WORK_COMPLETE, background, b"")

        worker.expect_close()
        client.expect_close()


def test_graceful_end_sends_the_last_result_whole(dial: Dial) -> None:
    with EmbeddedServer() as server:
        worker, client = dial(server), dial(server, receive_buffer=4096)
        worker.can_do(b"f")
        handle = client.submit(b"f")
        worker.grab()
        server.call(JobServer.drain)
        result = b"r" * (16 * MEGABYTE)

        worker.send(T.WORK_COMPLETE, handle, result)

        wait_until(lambda: server.call(lambda one: one.broker.idle))
        assert client.receive().body == handle + b"\0" + result
        client.expect_close()


def test_graceful_end_has_a_deadline(dial: Dial) -> None:
    with EmbeddedServer(graceful_timeout=0.2) as server:
        client = dial(server)
        client.submit(b"f", number=T.SUBMIT_JOB_BG)

        server.call(JobServer.drain)

        client.expect_close()


def test_shutdown_by_words_ends_the_server_where_it_is_allowed(dial: Dial) -> None:
    with EmbeddedServer(admin_shutdown=True) as server:
        wire = dial(server)

        wire.send_bytes(b"shutdown\n")

        wire.expect_bytes(b"OK\r\n")
        wire.expect_close()
