"""Job ids only go up, and handles lead back to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geartrain.broker.handles import HandleMaker
from geartrain.stores.ids import JobIds, coalescing_key, handle_of, id_of, made_at
from geartrain.stores.port import FIRST, JobId, Lease, LeaseId

NOW = 1_700_000_000.0
BIGGEST = (1 << 63) - 1


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def lease(number: int, floor: int = 0) -> Lease:
    return Lease(LeaseId(number), JobId(floor))


@given(st.lists(st.integers(-5_000, 5_000) | st.none(), max_size=40))
def test_ids_only_go_up_whatever_the_clock_does(steps: list[int | None]) -> None:
    clock = Clock()
    ids = JobIds(lease(1), clock)
    last = ids.next()
    number = 1
    for step in steps:
        if step is None:
            number += 1
            ids.rebase(lease(number, last))
        else:
            clock.now += step / 1000
        for _ in range(3):
            made = ids.next()
            assert last < made <= BIGGEST
            last = made


def test_more_ids_than_a_millisecond_holds() -> None:
    ids = JobIds(lease(1), Clock())

    made = [ids.next() for _ in range(10_000)]

    assert made == sorted(set(made))
    assert made_at(made[-1]) == pytest.approx(NOW + 0.002, abs=0.002)


def test_servers_never_make_the_same_id() -> None:
    clock = Clock()
    makers = [JobIds(lease(number), clock) for number in (1, 2, 1023, 1024)]

    made = [maker.next() for maker in makers for _ in range(5_000)]

    assert len(made) == len(set(made))


def test_ids_are_above_the_floor_even_with_a_clock_that_was_set_back() -> None:
    clock = Clock()
    before = JobIds(lease(1), clock).next()
    clock.now -= 86_400

    assert JobIds(lease(1025, before), clock).next() > before


@given(st.integers(0, BIGGEST), st.sampled_from([b"H:host:", b"H:[::1]:", b"", b"p" * 47]))
def test_a_handle_leads_to_its_id(number: int, prefix: bytes) -> None:
    handle = handle_of(prefix, JobId(number))

    assert id_of(handle) == number
    assert len(handle) <= 63


@pytest.mark.parametrize(
    "handle", [b"", b"H:host:", b"H:host:7", b"H:host:0123456789ABCDEF", b"f" * 16, b"H:x:-1"]
)
def test_other_handles_lead_nowhere(handle: bytes) -> None:
    assert id_of(handle) is None


def test_a_prefix_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="leave room"):
        handle_of(b"p" * 48, FIRST)


def test_coalescing_keys() -> None:
    assert coalescing_key(b"", b"body") is None
    assert coalescing_key(b"u", b"body") == b"u"
    assert coalescing_key(b"-", b"") is None
    assert coalescing_key(b"-", b"body") == coalescing_key(b"-", b"body")
    assert coalescing_key(b"-", b"body") != coalescing_key(b"-", b"other")
    assert len(coalescing_key(b"u" * 10_000, b"") or b"") == 34


def test_handles_are_those_that_the_broker_makes() -> None:
    handle = HandleMaker(b"H:host:", instance=7).next(NOW)

    id = id_of(handle)

    assert id is not None
    assert handle_of(b"H:host:", id) == handle
    assert id == JobIds(lease(7), lambda: NOW).next()
    assert made_at(id) == pytest.approx(NOW, abs=0.01)
