"""Three job servers share one PostgreSQL, and everything is killed, paused and cut off.

Whatever happens: every acknowledged job is done, none is stuck, none is done twice but
where a server, a worker or the database was lost, and the jobs of a server that is
killed are the others' within its lease and a second.
"""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from tests.chaos.shared import LEASE, Member, World
from tests.stores.postgres_server import Cluster
from tests.support import budget, patient, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(0)]

#: Time for each kind of trouble to come a few times: a minute where others rely on it.
SECONDS = max(budget(20.0), 60.0 if os.environ.get("CI") == "true" else 0.0)

TROUBLES = ("kill", "kill", "stop", "pause", "pause", "cut", "stall")


@contextlib.contextmanager
def living(
    databases: Sequence[Cluster], options: str = "", started_by: Sequence[str] = ()
) -> Iterator[World]:
    """Servers, clients and workers; what the servers have to say if it goes wrong."""
    seed = os.environ.get("GEARTRAIN_SEED") or str(random.randrange(10**9))
    print(f"GEARTRAIN_SEED={seed}")
    world = World(databases, random.Random(seed), options, started_by)
    try:
        yield world
    except BaseException:
        print(world.left_over())
        for member in world.members:
            print(f"--- s{member.number} ---\n{member.log()[-4000:]}")
        raise
    finally:
        world.close()


@contextlib.contextmanager
def database(primary: Cluster | None = None, **settings: str) -> Iterator[Cluster]:
    cluster = Cluster(primary, **settings)
    try:
        yield cluster
    finally:
        cluster.remove()


def adoption_takes(world: World, member: Member) -> float:
    """Kill a server in the midst of peace: seconds until the others have its jobs."""
    [(lease,)] = world.ask(
        f"SELECT max(id) FROM gt_lease WHERE server = 's{member.number}' AND state = 'live'"
    )
    began = time.monotonic()
    member.kill()
    gone = f"SELECT NOT EXISTS (SELECT 1 FROM gt_lease WHERE id = {lease} AND state = 'live')"
    free = f"SELECT NOT EXISTS (SELECT 1 FROM gt_job WHERE owner = {lease})"
    wait_until(lambda: world.ask(gone) == [(True,)], within=10.0)
    wait_until(lambda: world.ask(free) == [(True,)], within=10.0)
    took = time.monotonic() - began
    member.come_back()
    world.note("kill", member.number, began)
    return took


def is_peace(world: World) -> bool:
    """All three hold a lease that others would respect for a while."""
    living = "SELECT count(*) FROM gt_lease WHERE state = 'live' AND expires > now()"
    return world.ask(living) == [(3,)]


def test_nothing_is_lost_stuck_or_needlessly_repeated() -> None:
    with database() as cluster, living([cluster]) as world:
        suffer(world)


def suffer(world: World) -> None:
    """One trouble after the other, and some at once."""
    chance = world.chance
    end = time.monotonic() + SECONDS
    current: list[tuple[float, str, Member, float]] = []
    adoptions: list[float] = []
    step = 0

    def heal(until: float) -> None:
        for trouble in sorted(current):
            due, what, member, began = trouble
            if due <= until:
                world.heal(what, member)
                world.note(what, member.number, began)
                current.remove(trouble)

    while time.monotonic() < end:
        time.sleep(chance.uniform(0.1, 0.8))
        heal(time.monotonic())
        world.note_leases()
        step += 1
        if step % 20 == 8:
            heal(float("inf"))
            world.crash_database()
        elif step % 20 == 16:
            heal(float("inf"))
            wait_until(lambda: is_peace(world), within=5 * LEASE)
            adoptions.append(adoption_takes(world, chance.choice(world.members)))
        elif free := world.free():
            member, what = chance.choice(free), chance.choice(TROUBLES)
            began = time.monotonic()
            world.make(what, member)
            current.append((began + chance.uniform(0.0, 2.5 * LEASE), what, member, began))
    heal(float("inf"))
    if not adoptions:
        wait_until(lambda: is_peace(world), within=5 * LEASE)
        adoptions.append(adoption_takes(world, chance.choice(world.members)))
    settle(world)
    print(f"adoptions after {adoptions}")
    assert max(adoptions) <= patient(LEASE + 1.0)


def settle(world: World) -> None:
    """Do what is left, and look into the books."""
    world.finish()
    runs = sum(map(len, world.runs.values()))
    print(f"{sum(map(len, world.promises.values()))} promises, {len(world.runs)} jobs, {runs} runs")
    print(f"{world.answers} questions answered")
    print(Counter(one.what for one in world.troubles))
    for member in world.members:
        _, traceback, rest = member.log().partition("Traceback")
        assert not traceback, rest[:3000]
    assert world.lost() == []
    assert world.needless() == []
    assert world.answers > len(world.troubles)
    assert len(world.promises) > 20 * len(world.troubles)


def test_nothing_is_lost_or_stuck_when_the_standby_takes_over() -> None:
    with (
        database(synchronous_standby_names="*") as primary,
        database(primary) as standby,
        living([primary, standby], "&target_session_attrs=read-write&require=standby") as world,
    ):
        wait_until(lambda: len(world.promises) > 500, within=30.0)
        promised = len(world.promises)
        began = time.monotonic()
        primary.kill()
        standby.promote()
        world.cluster = standby
        # The new primary has no standby of its own yet.
        world.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
        world.ask("SELECT pg_reload_conf()")
        world.note("primary", None, began)
        wait_until(lambda: len(world.promises) > promised + 500, within=30.0)
        print(f"on again after {time.monotonic() - began:.1f} s")
        settle(world)


#: Starts a server that believes in its lease for ever, whatever its clock says.
FORGETS_ITS_DEADLINE = """
import geartrain.stores.postgres_leases as leases
leases.MARGIN = 1e6
from geartrain.cli.gearmand import main
raise SystemExit(main())
"""


def test_books_show_a_server_that_holds_on_to_what_it_has_lost() -> None:
    """Else the other tests here would say nothing of the deadline."""
    started_by = [sys.executable, "-c", FORGETS_ITS_DEADLINE]
    with database() as cluster, living([cluster], started_by=started_by) as world:
        wait_until(lambda: len(world.promises) > 100, within=30.0)

        def repeats() -> bool:
            member = world.chance.choice(world.members)
            began = time.monotonic()
            world.make("pause", member)
            time.sleep(patient(LEASE + 1.0))
            world.heal("pause", member)
            world.note("pause", member.number, began)
            time.sleep(1.0)
            return bool(world.needless())

        wait_until(repeats, within=60.0)
