"""gearman-worker with real processes: jobs, signals, crashes, reloads, ends."""

from __future__ import annotations

import os
import signal
import time

import pytest

from geartrain.client.admin import AdminClient
from geartrain.client.sync import Client
from geartrain.errors import JobFailed
from geartrain.testing import EmbeddedServer
from tests.manager.running import CODE, Running, is_alive
from tests.support import patient, wait_until

HUP, TERM, INT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


def test_jobs_are_done_and_status_shows_by_whom(manager: Running, client: Client) -> None:
    manager.start("jobs:app", "-n", "2")

    task = client.submit("nap", b"1.5")
    wait_until(lambda: "working" in manager.states())
    (busy,) = [p for p in manager.status() if p["state"] == "working"]

    assert busy["function"] == "nap"
    assert int(task.result()) == busy["pid"]
    wait_until(manager.idle)
    assert sum(p["jobs"] for p in manager.status()) == 1


def test_term_lets_the_job_that_runs_end(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "2", "--pid-file", "pid")
    assert manager.process is not None
    assert int((manager.folder / "pid").read_text()) == manager.process.pid
    task = client.submit("nap", b"1")
    wait_until(lambda: "working" in manager.states())

    manager.send(TERM)

    assert int(task.result()) > 0
    assert manager.wait() == 0
    assert not (manager.folder / "pid").exists()
    assert not list((manager.folder / "gearman-worker").iterdir())


def test_term_to_everybody_as_systemd_sends_it_means_no_more_than_once(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "2")
    task = client.submit("nap", b"1")
    wait_until(lambda: "working" in manager.states())

    for pid in manager.pids():
        os.kill(pid, TERM)
        os.kill(pid, INT)
    manager.send(TERM)

    assert int(task.result()) > 0
    assert manager.wait() == 0


def test_the_second_term_does_not_wait(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "1")
    client.submit("nap", b"60")
    wait_until(lambda: "working" in manager.states())
    pids = manager.pids()

    manager.send(TERM)
    wait_until(lambda: manager.says("stopping: "))
    manager.send(TERM)

    assert manager.wait(5) == 0
    assert not any(map(is_alive, pids))


def test_a_job_that_outlasts_the_grace_is_cut_off(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "1", "--grace", "500ms")
    client.submit("nap", b"60")
    wait_until(lambda: "working" in manager.states())

    manager.send(TERM)

    assert manager.wait(10) == 0
    assert manager.says("did not end in time")


def test_a_killed_process_is_replaced_and_its_job_done_again(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "1")
    task = client.submit("nap", b"1")
    wait_until(lambda: "working" in manager.states())
    (pid,) = manager.pids()

    os.kill(pid, signal.SIGKILL)

    assert int(task.result()) != pid
    assert manager.says("SIGKILL (out of memory?) while it did nap")


def test_no_orphan_outlives_a_killed_manager_and_its_job_is_finished(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "3", "--grace", "10")
    task = client.submit("nap", b"1")
    wait_until(lambda: "working" in manager.states())
    pids = manager.pids()

    manager.send(signal.SIGKILL)

    assert int(task.result()) in pids
    wait_until(lambda: not any(map(is_alive, pids)))


def test_an_orphan_with_an_endless_job_ends_after_the_grace(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "1", "-t", "2", "--grace", "500ms")
    client.submit("nap", b"60")
    wait_until(lambda: "working" in manager.states())
    pids = manager.pids()

    manager.send(signal.SIGKILL)

    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_reload_brings_new_code(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "2")
    before = manager.pids()
    assert client.do("version") == b"one"
    manager.write(CODE.replace('"one"', '"two"'))

    manager.send(HUP)

    wait_until(lambda: manager.says("reloaded"), within=20)
    wait_until(manager.idle)
    assert client.do("version") == b"two"
    assert not manager.pids() & before


def test_code_that_cannot_be_loaded_leaves_the_old_one_at_work(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "2")
    before = manager.pids()
    manager.write("this is no Python")

    manager.send(HUP)

    wait_until(lambda: manager.says("the old one works on"), within=20)
    assert manager.says("SyntaxError")
    assert client.do("version") == b"one"
    assert manager.pids() == before


@pytest.mark.parametrize("how", ["watchfiles", "polling"])
def test_a_changed_file_is_loaded_while_developing(
    manager: Running, client: Client, how: str
) -> None:
    if how == "watchfiles":
        pytest.importorskip("watchfiles")
    else:
        manager.write("raise ImportError", "watchfiles.py")
    manager.start("jobs", "--reload")
    assert len(manager.pids()) == 1
    written = 0.0

    def is_new() -> bool:
        # Nothing tells when the watcher has begun to look: write until it has seen.
        nonlocal written
        if time.monotonic() > written + 2:
            manager.write(CODE.replace('"one"', '"two"'))
            written = time.monotonic()
        return client.do("version") == b"two"

    wait_until(is_new, within=30)
    assert manager.says("jobs.py has changed")


def test_more_and_fewer_processes(manager: Running) -> None:
    manager.start("jobs", "-n", "1")

    manager.send(signal.SIGTTIN)
    wait_until(lambda: manager.states() == ["idle", "idle"], within=10)

    manager.send(signal.SIGTTOU)
    wait_until(lambda: manager.states() == ["idle"], within=10)


def test_quiet_processes_take_no_more_jobs_and_stay(
    manager: Running, client: Client, server: EmbeddedServer
) -> None:
    manager.start("jobs", "-n", "2")
    pids = manager.pids()

    manager.send(signal.SIGUSR1)

    wait_until(lambda: manager.states() == ["quiet", "quiet"])
    wait_until(lambda: _workers(server, "version") == 0)
    assert manager.pids() == pids
    manager.send(TERM)
    assert manager.wait() == 0


def _workers(server: EmbeddedServer, function: str) -> int:
    from geartrain.client.admin import AdminClient

    with AdminClient(server.address) as admin:
        return sum(row.workers for row in admin.status() if row.function == function)


def test_a_process_is_replaced_after_so_many_jobs(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "1", "--max-jobs", "2", "--splay", "0")

    pids = [client.do("pid") for _ in range(6)]

    assert len(set(pids)) == 3
    assert pids == sorted(pids, key=pids.index)
    assert not manager.says("error")


def test_a_process_that_has_grown_is_replaced_after_its_job(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "1", "--max-memory", "150M", "--splay", "0")

    first = client.do("grow", b"1000")
    big = client.do("grow", b"250000000")
    wait_until(lambda: client.do("pid") != first, within=20)

    assert big == first
    assert manager.says("grown to")


def test_a_process_is_replaced_when_it_is_old(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "1", "--max-lifetime", "500ms")
    before = manager.pids()

    wait_until(lambda: manager.pids() and not manager.pids() & before, within=20)


def test_functions_have_the_processes_that_the_file_gives_them(
    manager: Running, server: EmbeddedServer
) -> None:
    (manager.folder / "worker.toml").write_text(
        '[worker]\ntargets = ["jobs"]\nprocesses = 3\nexclude = ["die"]\n'
        "[function.nap]\nprocesses = 2\ndedicated = true\n[function.grow]\nprocesses = 1\n"
    )
    manager.start("--config", "worker.toml")

    wait_until(lambda: _workers(server, "version") == 3)
    wait_until(lambda: _workers(server, "nap") == 2)
    assert _workers(server, "grow") == 1
    assert _workers(server, "die") == 0
    assert sorted(p["name"] for p in manager.status()) == [
        "jobs/1", "jobs/2", "jobs/3", "nap/1", "nap/2"
    ]  # fmt: skip


def test_a_configuration_that_is_wrong_now_is_not_loaded(manager: Running, client: Client) -> None:
    config = manager.folder / "worker.toml"
    config.write_text('[worker]\ntargets = ["jobs"]\nprocesses = 1\n')
    manager.start("--config", "worker.toml")

    config.write_text("[worker]\nproceses = 2\n")
    manager.send(HUP)
    wait_until(lambda: manager.says("worker.proceses is unknown; did you mean processes?"))
    assert client.do("version") == b"one"

    config.write_text('[worker]\ntargets = ["jobs"]\nprocesses = 2\n')
    manager.send(HUP)
    wait_until(lambda: manager.states() == ["idle", "idle"], within=20)


def test_threads_do_jobs_at_once(manager: Running, client: Client) -> None:
    manager.start("jobs", "-n", "1", "-t", "8")
    start = time.monotonic()

    tasks = [client.submit("nap", b"1") for _ in range(8)]

    assert len({task.result() for task in tasks}) == 1
    assert time.monotonic() - start < patient(5)


def running_now(server: EmbeddedServer) -> int:
    with AdminClient(server.address) as admin:
        return sum(one.running for one in admin.status())


def test_jobs_fetched_ahead_are_done_before_a_process_ends_and_no_more_than_once(
    manager: Running, client: Client, server: EmbeddedServer
) -> None:
    manager.start("jobs", "-n", "1", "--prefetch", "4")
    with client.batch():
        tasks = [client.submit("nap", b"0.3") for _ in range(10)]
    wait_until(lambda: running_now(server) == 5)

    manager.send(TERM)
    assert manager.wait() == 0

    done = [task for task in tasks if client.wait([task], timeout=0)[0]]
    assert 4 <= len(done) <= 6
    assert len({task.result() for task in done}) == 1
    assert running_now(server) == 0


def test_jobs_fetched_ahead_go_to_another_process_when_theirs_is_killed(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "1", "--prefetch", "4")
    with client.batch():
        tasks = [client.submit("nap", b"0.2") for _ in range(6)]
    first = client.gather(tasks[:1])[0]
    os.kill(int(first), signal.SIGKILL)

    others = client.gather(tasks[1:], timeout=patient(20))
    assert first not in others[1:]


def test_coroutines_do_jobs_at_once_and_term_waits_for_them(
    manager: Running, client: Client
) -> None:
    manager.write(
        """
        import asyncio
        from geartrain.worker.aio import AsyncWorker
        app = AsyncWorker()
        @app.function
        async def snooze(job):
            await asyncio.sleep(1)
            return job.workload
        """,
        "snoozing.py",
    )
    manager.start("snoozing:app", "-n", "1", "-c", "50")
    start = time.monotonic()

    tasks = [client.submit("snooze", b"%d" % n) for n in range(50)]
    wait_until(lambda: manager.status()[0]["running"] == 50, within=20)
    manager.send(TERM)

    assert [int(task.result()) for task in tasks] == list(range(50))
    assert time.monotonic() - start < patient(15)
    assert manager.wait() == 0


def test_a_typed_app_is_a_target(manager: Running, client: Client) -> None:
    pytest.importorskip("geartrain.typed.app")
    manager.write(
        """
        from geartrain.typed.app import App
        app = App("sums", namespace="sums.")
        @app.lifespan
        def life():
            print("begin", flush=True)
            yield 40
            print("end", flush=True)
        @app.function
        def add(a: int, b: int) -> int:
            from geartrain.worker.job import current_job
            return a + b + current_job().context
        """,
        "sums.py",
    )
    manager.start("sums:app", "-n", "1")

    assert client.do("sums.add", b'{"a": 1, "b": 1}') == b"42"
    manager.send(TERM)
    assert manager.wait() == 0
    assert manager.says("begin")
    assert manager.says("end")


def test_the_executor_is_a_target_with_a_key(manager: Running, server: EmbeddedServer) -> None:
    executor = pytest.importorskip("geartrain.executor")
    (manager.folder / "key").write_bytes(b"0123456789abcdef0123456789abcdef\n")
    manager.start("geartrain.executor", "--key-file", "key", "-n", "1")

    with executor.GearmanExecutor(server.address, key=b"0123456789abcdef" * 2) as pool:
        assert list(pool.map(abs, [-1, -2, 3])) == [1, 2, 3]


def test_a_failing_handler_is_counted_and_its_process_lives_on(
    manager: Running, client: Client
) -> None:
    manager.start("jobs", "-n", "1")
    pids = manager.pids()

    with pytest.raises(JobFailed):
        client.do("nap", b"not a number")

    wait_until(lambda: manager.status()[0]["failures"] == 1)
    assert manager.pids() == pids
