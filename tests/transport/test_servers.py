"""The book of health: time and chance are arguments, so nothing sleeps here."""

from __future__ import annotations

from geartrain.transport.address import Address
from geartrain.transport.servers import ServerBook

A, B, C = Address("a"), Address("b"), Address("c")


def test_healthy_servers_keep_their_order() -> None:
    assert ServerBook().in_order([B, A, C], now=0.0) == [B, A, C]


def test_failed_server_goes_behind_until_its_pause_is_over() -> None:
    book = ServerBook(first_pause=1.0)
    pause = book.failed(A, now=100.0, chance=0.0)

    assert pause == 0.5
    assert book.in_order([A, B], now=100.0) == [B, A]
    assert book.in_order([A, B], now=100.5) == [A, B]


def test_pause_doubles_up_to_a_ceiling_and_is_forgotten_on_success() -> None:
    book = ServerBook(first_pause=1.0, longest_pause=5.0)

    assert [book.failed(A, 0.0, 0.999999) for _ in range(5)] == sorted(
        book.failed(B, 0.0, 0.999999) for _ in range(5)
    )
    assert 4.9 < book.failed(A, 0.0, 0.999999) <= 5.0
    assert book.failed(A, 0.0, 0.0) == 2.5

    book.succeeded(A)

    assert book.is_up(A, 0.0)
    assert book.failed(A, 0.0, 0.0) == 0.5


def test_among_the_failed_the_soonest_comes_first() -> None:
    book = ServerBook(first_pause=1.0)
    for _ in range(3):
        book.failed(A, 0.0, 0.0)
    book.failed(B, 0.0, 0.0)

    assert book.in_order([A, B, C], now=0.0) == [C, B, A]
    assert book.again_at(C) == 0.0
