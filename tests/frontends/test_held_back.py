"""A peer that does not read its answers is answered no further; then it goes on."""

from __future__ import annotations

import tracemalloc

from geartrain.frontends.port import Bounds
from geartrain.protocol import commands as c
from tests.frontends.talk import Talk, packet


def small(pause: int = 10_000) -> Bounds:
    bounds = Bounds()
    bounds.pause_output_bytes = pause
    return bounds


def test_peer_that_does_not_read_is_answered_no_further() -> None:
    talk = Talk(small())
    flood = talk.join()

    flood.say(b"".join(packet(c.ECHO_REQ, b"%05d" % n + bytes(995)) for n in range(50)))

    assert flood.connection.held_back
    assert flood.connection.out_bytes < 12_000


def test_what_was_held_back_is_answered_in_order_once_the_peer_reads() -> None:
    talk = Talk(small())
    flood = talk.join()
    flood.say(b"".join(packet(c.ECHO_REQ, b"%05d" % n + bytes(995)) for n in range(50)))

    answers = flood.heard()
    rounds = 0
    while flood.connection.held_back:
        flood.connection.resume()
        answers += flood.heard()
        rounds += 1

    assert answers == [(c.ECHO_RES, b"%05d" % n + bytes(995)) for n in range(50)]
    assert rounds > 3


def test_bytes_that_arrive_meanwhile_wait_their_turn() -> None:
    talk = Talk(small())
    flood = talk.join()
    flood.say(packet(c.ECHO_REQ, b"x" * 20_000) + packet(c.ECHO_REQ, b"1"))
    assert flood.connection.held_back

    flood.say(packet(c.ECHO_REQ, b"2")[:7])
    flood.say(packet(c.ECHO_REQ, b"2")[7:] + b"getpid\n")
    assert len(flood.heard()) == 1
    flood.connection.resume()

    assert flood.heard() == [(c.ECHO_RES, b"1"), (c.ECHO_RES, b"2"), b"OK 0\n"]


def test_large_body_that_ends_while_held_back_is_not_lost() -> None:
    talk = Talk(small())
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()
    large = packet(c.ECHO_REQ, b"x" * 100_000)
    client.say(large[:50_000])

    worker.send(c.WORK_DATA, handle, b"y" * 20_000)
    client.say(large[50_000:] + packet(c.ECHO_REQ, b"1"))
    client.say(packet(c.ECHO_REQ, b"2"))

    answers = client.heard()
    while client.connection.held_back:
        client.connection.resume()
        answers += client.heard()
    assert [one[0] for one in answers] == [c.WORK_DATA, c.ECHO_RES, c.ECHO_RES, c.ECHO_RES]


def test_one_who_does_not_read_is_noticed_at_every_report_that_it_gets() -> None:
    talk = Talk(small())
    worker, client = talk.worker(b"f"), talk.join()
    handle = client.submit()
    worker.grab()
    for _ in range(20):
        worker.send(c.WORK_DATA, handle, b"x" * 1000)
    talk.touched.clear()

    worker.send(c.WORK_DATA, handle, b"x" * 1000)

    # Nothing was sent since, and so nothing else would bring it to the server's notice.
    assert client.connection in talk.touched


def test_long_list_waits_for_its_reader_and_is_whole_in_the_end() -> None:
    talk = Talk(small())
    talk.checked = False
    for number in range(20_000):
        talk.broker.create_function(b"function-%d" % number)
    admin = talk.join()

    admin.say(b"status\ngetpid\n")
    most, data = 0, b""
    while True:
        most = max(most, admin.connection.out_bytes)
        data += admin.take()
        if not admin.connection.held_back:
            break
        admin.connection.resume()

    assert most < 50_000
    assert data.count(b"\n") == 20_002
    assert data.endswith(b"function-19999\t0\t0\t0\n.\nOK 0\n")


def test_other_peers_are_served_while_a_list_waits() -> None:
    talk = Talk(small())
    talk.checked = False
    for number in range(5_000):
        talk.broker.create_function(b"function-%d" % number)
    admin, client = talk.join(), talk.join()

    admin.say(b"status\n")
    client.submit()

    assert admin.connection.held_back
    assert client.heard() == []


def test_nine_thousand_questions_for_twenty_thousand_functions_in_one_read_take_little_room() -> (
    None
):
    talk = Talk(small(100_000))
    talk.checked = False
    for number in range(20_000):
        talk.broker.create_function(b"function-%d" % number)
    admin = talk.join()
    said = b"status\n" * 9_000

    tracemalloc.start()
    admin.say(said)
    for _ in range(2):
        admin.take()
        admin.connection.resume()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert admin.connection.held_back
    assert peak < 4 * 2**20


def test_error_after_which_nothing_is_understood_ends_what_was_held_back() -> None:
    talk = Talk(small())
    flood = talk.join()
    flood.say(packet(c.ECHO_REQ, bytes(20_000)) + b"\0NO!" + bytes(8) + packet(c.ECHO_REQ, b"x"))
    flood.take()

    flood.connection.resume()

    assert [one[0] for one in flood.heard()] == [c.ERROR]
    assert flood.connection.closing
    assert not flood.connection.held_back
