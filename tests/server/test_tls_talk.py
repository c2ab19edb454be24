"""Talking through TLS: large things, slow readers, ends."""

from __future__ import annotations

import gc
import random
import socket
import threading
import time

import pytest

from tests.conformance.wire import T, packet
from tests.server.tls import (
    HalfDuplex,
    Papers,
    Secure,
    Talk,
    connections,
    half_a_hello,
    outside,
)
from tests.support import wait_until

MEGABYTE = 2**20


def test_workload_of_64_mebibytes_there_and_back(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        worker, client, other = secure(server), secure(server), secure(server)
        worker.can_do(b"f")
        workload = random.Random(1).randbytes(MEGABYTE) * 64
        sender = threading.Thread(
            target=client.send_bytes, args=(packet(T.SUBMIT_JOB, b"f", b"", workload),)
        )

        sender.start()
        other.expect_nothing()
        sender.join()  # OpenSSL does not take two threads at one connection
        handle = client.created()
        assert worker.grab() == (handle, b"f", workload)
        back = threading.Thread(
            target=worker.send_bytes, args=(packet(T.WORK_COMPLETE, handle, workload),)
        )
        back.start()
        heard = client.receive()
        back.join()

        assert heard.body == handle + b"\0" + workload
        worker.expect_nothing()


def test_who_does_not_read_its_own_answers_is_waited_for_and_loses_nothing(
    papers: Papers, secure: Secure
) -> None:
    with papers.server(pause_output=8192, max_output=500_000) as server:
        slow, other = secure(server, receive_buffer=4096), secure(server)
        count = 300
        said = b"".join(packet(T.ECHO_REQ, b"%06d" % n + b"x" * 50_000) for n in range(count))
        talk = Talk(slow.socket, said)

        def held_back() -> bool:
            talk.write()
            return server.call(
                lambda one: any(p.held_back for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
            )

        wait_until(held_back)
        held = server.call(
            lambda one: max(p.out_bytes for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
        )
        other.expect_nothing()
        wanted = said.replace(b"\0REQ" + T.ECHO_REQ.to_bytes(4), b"\0RES" + T.ECHO_RES.to_bytes(4))
        heard = talk.finish(len(wanted))

        assert heard == wanted
        assert held < 600_000


def test_who_does_not_read_what_others_report_is_let_go(papers: Papers, secure: Secure) -> None:
    with papers.server(pause_output=8192, max_output=500_000) as server:
        worker, slow = secure(server), secure(server, receive_buffer=4096)
        worker.can_do(b"f")
        handle = slow.submit(b"f")
        worker.grab()

        for _ in range(200):
            worker.send(T.WORK_DATA, handle, b"x" * 100_000)

        worker.expect_nothing()
        wait_until(lambda: connections(server) == 1)


@pytest.mark.parametrize("how", ["good-bye", "end of stream"])
def test_who_stops_sending_gets_its_answers_first(papers: Papers, how: str) -> None:
    with papers.server() as server:
        peer = HalfDuplex(server, papers.context())
        peer.send(b"getpid\n" + packet(T.ECHO_REQ, b"x" * 1_000_000) + b"status\n")
        if how == "good-bye":
            peer.say_goodbye()
        else:
            peer.raw.shutdown(socket.SHUT_WR)

        data, goodbye = peer.read_to_the_end()

        assert data.startswith(b"OK ")
        assert data.endswith(b"x" * 100 + b".\n")
        assert goodbye
        wait_until(lambda: connections(server) == 0)
        peer.raw.close()


def test_packet_over_the_limit_is_told_and_closed(papers: Papers, secure: Secure) -> None:
    with papers.server(max_packet_bytes=10_000) as server:
        wire = secure(server)

        wire.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 20_000)[:500])

        wire.expect_error(b"ARGUMENT_TOO_LARGE")
        wire.expect_close()


def test_stalled_packet_is_closed_after_the_packet_timeout(papers: Papers, secure: Secure) -> None:
    with papers.server(packet_timeout=30.0) as server:
        stalled, idle = secure(server), secure(server)
        idle.expect_nothing()
        stalled.expect_nothing()
        stalled.send_bytes(packet(T.SUBMIT_JOB, b"f", b"", b"x" * 100_000)[:-1])
        wait_until(
            lambda: server.call(
                lambda one: any(p.reader.held > 90_000 for p in one.broker.state.peers.values())  # type: ignore[attr-defined]
            )
        )

        server.advance(20.0)
        server.advance(31.0)

        stalled.expect_close()
        idle.expect_nothing()


def test_every_cut_of_the_bytes_is_heard_alike(papers: Papers) -> None:
    said = packet(T.ECHO_REQ, b"one") + b"version\n" + packet(T.ECHO_REQ, b"x" * 40_000)
    with papers.server() as server:
        chance = random.Random(4730)
        for _ in range(20):
            peer = HalfDuplex(server, papers.context())
            peer.tls.write(said)
            sealed = peer._outgoing.read()
            at = 0
            while at < len(sealed):
                size = chance.choice([1, 3, 100, 5000, 20_000])
                peer.raw.sendall(sealed[at : at + size])
                at += size
                time.sleep(0.0005)
            peer.say_goodbye()

            data, _ = peer.read_to_the_end()

            assert data.count(b"\0RES") == 2
            assert data.endswith(b"x" * 40_000)
            peer.raw.close()


def test_abrupt_goodbyes_leave_no_object_behind(papers: Papers, secure: Secure) -> None:
    with papers.server() as server:
        chance = random.Random(4730)
        context = papers.context()
        hello = half_a_hello()

        def churn(count: int) -> None:
            for _ in range(count):
                kind = chance.randrange(4)
                with socket.create_connection((server.host, server.port)) as raw:
                    if kind == 0:
                        continue
                    if kind == 1:
                        raw.sendall(hello[: chance.randrange(1, 100)])
                        continue
                    wire = context.wrap_socket(raw, server_hostname="127.0.0.1")
                    wire.sendall(packet(T.CAN_DO, b"f") + packet(T.SUBMIT_JOB, b"f", b"", b"w"))
                    if kind == 2:
                        wire.recv(10)
                    wire.close()
            wait_until(lambda: connections(server) == 0)

        churn(30)
        gc.collect()
        gc.disable()
        try:
            churn(200)
            # gearmand does without the collector, so nothing may need it.
            left = server.call(lambda one: gc.collect())
        finally:
            gc.enable()

        assert left < 40
        # The last to knock may still have stood before the door when the rest had gone.
        wait_until(lambda: outside(server) == 0)
