"""A job server as a guest in somebody's program, and as the host of its own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from geartrain.errors import ConfigurationError
from geartrain.server import JobServer, Settings
from geartrain.server.loop import HostedLoop
from geartrain.stores.lane import Lane
from geartrain.testing import EmbeddedServer, TurnableClock
from tests.conformance.wire import T, packet
from tests.support import eventually, patient

LOCAL = Settings(listen=("127.0.0.1:0",))

LOOPS: list[Any] = [
    pytest.param(asyncio.SelectorEventLoop, id="asyncio"),
    pytest.param(uvloop.new_event_loop, id="uvloop"),
    pytest.param(HostedLoop, id="hosted"),
]
Loops = Callable[[], asyncio.AbstractEventLoop]


def run(loop_factory: Loops, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story in a loop of this kind; nothing of it may be left."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(story(), patient(20.0)))


class Stream:
    """A connection in the same loop as the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, number: int, *arguments: bytes) -> None:
        self.writer.write(packet(number, *arguments))

    async def receive(self) -> tuple[int, bytes]:
        head = await self.reader.readexactly(12)
        return int.from_bytes(head[4:8]), await self.reader.readexactly(int.from_bytes(head[8:]))


def place(server: JobServer) -> tuple[str, int]:
    """Where it listens."""
    address = server.addresses[0]
    assert isinstance(address, tuple)
    return address


@contextlib.asynccontextmanager
async def dial(server: JobServer) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection(*place(server))
    try:
        yield Stream(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("loop", LOOPS)
def test_server_client_and_worker_live_in_one_loop(loop: Loops) -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server, dial(server) as worker, dial(server) as client:
            worker.send(T.CAN_DO, b"f")
            worker.send(T.PRE_SLEEP)
            client.send(T.SUBMIT_JOB, b"f", b"", b"workload")
            number, handle = await client.receive()
            assert number == T.JOB_CREATED
            assert await worker.receive() == (T.NOOP, b"")
            worker.send(T.GRAB_JOB)
            assert await worker.receive() == (T.JOB_ASSIGN, handle + b"\0f\0workload")
            worker.send(T.WORK_COMPLETE, handle, b"result")
            assert await client.receive() == (T.WORK_COMPLETE, handle + b"\0result")

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_other_tasks_have_their_turn_while_the_server_is_busy(loop: Loops) -> None:
    async def story() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        async with JobServer(LOCAL) as server, dial(server) as client:
            ticking = asyncio.create_task(tick())
            for n in range(300):
                client.send(T.ECHO_REQ, b"%d" % n)
                assert await client.receive() == (T.ECHO_RES, b"%d" % n)
            ticking.cancel()
        assert ticks > 300

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_two_servers_live_in_one_process_and_do_not_mix(loop: Loops) -> None:
    if loop is HostedLoop:
        pytest.skip("a hosted loop is one server's")

    async def story() -> None:
        async with (
            JobServer(LOCAL) as one,
            JobServer(LOCAL) as other,
            dial(one) as client,
            dial(other) as worker,
        ):
            client.send(T.SUBMIT_JOB, b"f", b"", b"w")
            assert (await client.receive())[0] == T.JOB_CREATED
            worker.send(T.CAN_DO, b"f")
            worker.send(T.GRAB_JOB)
            assert await worker.receive() == (T.NO_JOB, b"")

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_epoch_job_wakes_a_sleeper_by_itself(loop: Loops) -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server, dial(server) as worker:
            worker.send(T.CAN_DO, b"f")
            worker.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (int(time.time()) + 1), b"w")
            worker.send(T.PRE_SLEEP)

            assert (await worker.receive())[0] == T.JOB_CREATED
            assert await worker.receive() == (T.NOOP, b"")

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_time_limit_of_a_job_ends_it_by_itself(loop: Loops) -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server, dial(server) as worker, dial(server) as other:
            worker.send(T.CAN_DO_TIMEOUT, b"f", b"100")
            worker.send(T.SUBMIT_JOB, b"f", b"", b"w")
            worker.send(T.GRAB_JOB)
            other.send(T.CAN_DO, b"f")
            other.send(T.PRE_SLEEP)

            assert await other.receive() == (T.NOOP, b"")

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("when", [b"1000000000000", b"9" * 18])
def test_job_for_a_million_years_from_now_harms_no_timer(loop: Loops, when: bytes) -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server, dial(server) as client:
            client.send(T.SUBMIT_JOB_EPOCH, b"f", b"", when, b"w")
            assert (await client.receive())[0] == T.JOB_CREATED
            await asyncio.sleep(0.01)
            client.send(T.ECHO_REQ, b"x")
            assert await client.receive() == (T.ECHO_RES, b"x")

    run(loop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_stopped_server_leaves_the_loop_as_it_was(loop: Loops) -> None:
    async def story() -> None:
        server = JobServer(LOCAL)
        await server.start()
        host, port = place(server)
        async with dial(server) as client:
            client.send(T.ECHO_REQ, b"x")
            assert await client.receive() == (T.ECHO_RES, b"x")
            await server.stop()
            assert await client.reader.read() == b""
        await server.stop()
        await asyncio.sleep(0.01)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)

    run(loop, story)


def test_server_is_started_once() -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server:
            with pytest.raises(RuntimeError, match="make a new JobServer"):
                await server.start()

    run(asyncio.SelectorEventLoop, story)


def test_hosted_loop_is_an_event_loop_like_others() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with JobServer(LOCAL) as server, dial(server) as client:
            assert await loop.run_in_executor(None, lambda: 42) == 42
            process = await asyncio.create_subprocess_exec(
                "echo", "hello", stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert out == b"hello\n"
            one, two = socket.socketpair()
            one.setblocking(False)
            two.setblocking(False)
            await loop.sock_sendall(one, b"x")
            assert await loop.sock_recv(two, 10) == b"x"
            one.close()
            two.close()
            began = loop.time()
            await asyncio.sleep(0.05)
            assert 0.04 < loop.time() - began < patient(2.0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await asyncio.Event().wait()
            client.send(T.ECHO_REQ, b"x")
            assert await client.receive() == (T.ECHO_RES, b"x")
        await asyncio.sleep(0.001)

    run(HostedLoop, story)


@pytest.mark.parametrize("loop", LOOPS)
def test_jobs_of_a_lone_peer_are_committed_by_the_servers_own_thread_until_another_speaks(
    loop: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geartrain.stores.lone.QUICK_SECONDS", 60.0)
    committed: list[str] = []
    own = threading.current_thread().name

    def note(statement: str) -> None:
        if statement.startswith("INSERT INTO log"):
            committed.append(threading.current_thread().name)

    async def story() -> None:
        settings = dataclasses.replace(LOCAL, queue=f"sqlite://{tmp_path}/jobs.db")
        async with JobServer(settings) as server, dial(server) as one, dial(server) as two:
            writer = server._keeping._writer
            assert writer is not None
            writer.store._writer.db.set_trace_callback(note)  # type: ignore[attr-defined]
            for _ in range(100):
                one.send(T.SUBMIT_JOB_BG, b"f", b"", b"w")
                assert (await one.receive())[0] == T.JOB_CREATED
            # A thread that is not the server's alone never waits for the disk.
            if loop is HostedLoop:
                # Where everything is slow the store may have been tidying up meanwhile.
                assert committed[-50:].count(own) > 40
            else:
                assert own not in committed

            for _ in range(10):
                two.send(T.ECHO_REQ, b"x")
                await two.receive()
                one.send(T.SUBMIT_JOB_BG, b"f", b"", b"w")
                assert (await one.receive())[0] == T.JOB_CREATED
            assert set(committed[-10:]) == {"geartrain-store-writer"}
            assert len(committed) >= 110

    run(loop, story)


def test_what_another_thread_calls_is_called_whenever_it_comes() -> None:
    """Before there is a server, while there is one, and after it has gone."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        seen: list[int] = []
        done = asyncio.Event()

        def call_all() -> None:
            for n in range(3000):
                loop.call_soon_threadsafe(seen.append, n)
            loop.call_soon_threadsafe(done.set)

        calling = threading.Thread(target=call_all)
        async with JobServer(LOCAL) as server, dial(server) as client:
            calling.start()
            for _ in range(20):
                client.send(T.ECHO_REQ, b"x")
                assert await client.receive() == (T.ECHO_RES, b"x")
        await done.wait()
        calling.join()

        assert sorted(seen) == list(range(3000))
        loop.call_soon_threadsafe(done.clear)
        await asyncio.sleep(0)
        assert not done.is_set()

    run(HostedLoop, story)


def test_call_of_another_thread_can_be_taken_back_and_may_fail() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
        went_on = asyncio.Event()
        async with JobServer(LOCAL):
            loop.call_soon_threadsafe(told.append, "never").cancel()
            loop.call_soon_threadsafe(int, "no number")
            loop.call_soon_threadsafe(went_on.set)
            await went_on.wait()

        assert told == ["invalid literal for int() with base 10: 'no number'"]

    run(HostedLoop, story)


def test_what_a_thread_has_done_when_a_server_stops_is_heard_after_all() -> None:
    """A task stops the server, and another waits for what came meanwhile."""

    async def story() -> None:
        lane = Lane("test-lane")
        lane.start()
        done = threading.Event()

        async def wait() -> int:
            return await lane.call(lambda: 7)

        async with JobServer(LOCAL):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            lane.call(done.set)
            lane.call(lambda: None)
            done.wait()  # the loop is busy here, and hears nothing
        assert await waiting == 7
        lane.stop()

    run(HostedLoop, story)


def test_call_that_ends_the_program_keeps_no_other_from_being_heard() -> None:
    heard = threading.Event()

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with JobServer(LOCAL):
            loop.call_soon_threadsafe(interrupt)
            loop.call_soon_threadsafe(heard.set)
            await asyncio.sleep(3600)

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def until_heard() -> None:
        while not heard.is_set():
            await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=HostedLoop) as runner:
        with pytest.raises(KeyboardInterrupt):
            runner.run(story())
        runner.run(asyncio.wait_for(until_heard(), patient(20.0)))


def test_idle_hosted_loop_sleeps() -> None:
    async def story() -> None:
        async with JobServer(LOCAL) as server, dial(server) as client:
            client.send(T.CAN_DO, b"f")
            client.send(T.PRE_SLEEP)
            client.send(T.ECHO_REQ, b"x")
            await client.receive()
            began = time.process_time()
            await asyncio.sleep(0.5)
            assert time.process_time() - began < 0.1

    run(HostedLoop, story)


async def test_embedded_server_is_ready_inside_a_coroutine() -> None:
    async with EmbeddedServer(job_retries=2) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(b"version\n")

        assert (await reader.readline()).startswith(b"OK 1.1.")
        assert server.call(lambda one: one.settings.job_retries) == 2
        assert server.address == f"{server.host}:{server.port}"
        writer.close()


async def test_turned_clock_makes_an_epoch_job_due() -> None:
    async with EmbeddedServer() as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        stream = Stream(reader, writer)
        stream.send(T.CAN_DO, b"f")
        stream.send(T.SUBMIT_JOB_EPOCH, b"f", b"", b"%d" % (int(time.time()) + 86_400), b"w")
        stream.send(T.PRE_SLEEP)
        stream.send(T.ECHO_REQ, b"mark")
        assert (await stream.receive())[0] == T.JOB_CREATED
        assert await stream.receive() == (T.ECHO_RES, b"mark")

        await asyncio.to_thread(server.advance, 86_401.0)

        assert await stream.receive() == (T.NOOP, b"")
        writer.close()


async def test_embedded_server_that_is_not_running_says_how_to_run_it() -> None:
    server = EmbeddedServer()

    with pytest.raises(RuntimeError, match="context manager"):
        _ = server.address
    server.stop()


async def test_connections_of_a_stopped_server_end() -> None:
    server = EmbeddedServer()
    await asyncio.to_thread(server.start)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"version\n")
    await reader.readline()

    await asyncio.to_thread(server.stop)

    assert await reader.read() == b""
    writer.close()
    await eventually(writer.is_closing)


def test_clock_goes_forward_only() -> None:
    clock = TurnableClock()
    before = clock.steady()
    clock.advance(100.0)

    assert clock.steady() >= before + 100.0
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1.0)


@pytest.mark.parametrize(
    "prefix", ["with space", "x" * 46, "tab\t", "nul\0", "ü" * 23, "new\nline"]
)
def test_prefix_that_leaves_no_room_for_a_handle_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="job-handle-prefix"):
        JobServer(Settings(job_handle_prefix=prefix))


def test_handles_begin_with_the_prefix_and_never_repeat() -> None:
    server = JobServer(Settings(job_handle_prefix="P" * 45))
    other = JobServer(Settings(job_handle_prefix="P" * 45))
    handles = [server.broker.state.handles.next(time.time()) for _ in range(10_000)]
    # Whoever restarts does so later than a millisecond after its last block began.
    handles += [other.broker.state.handles.next(time.time() + 1) for _ in range(100)]

    assert all(handle.startswith(b"P" * 45 + b":") for handle in handles)
    assert max(map(len, handles)) <= 63
    assert len(set(handles)) == len(handles)
