"""A PostgreSQL of our own: its own folder, port and user; gone after the tests.

Nothing here touches a PostgreSQL that is installed as a service.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support import free_port, patient

_numbers = count(1)

#: Absent at home: skipped. In CI it has to be there.
REQUIRED = os.environ.get("CI") == "true"


def binaries() -> Path | None:
    """Where ``initdb`` and ``postgres`` are; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


def skip_without() -> Path:
    """The folder of the binaries, or no test."""
    folder = binaries()
    try:
        import psycopg  # noqa: F401
    except ImportError:
        folder = None
    if folder is None:
        if REQUIRED:
            pytest.fail("PostgreSQL and psycopg are required here: apt-get install postgresql")
        pytest.skip("no PostgreSQL here (apt-get install postgresql), or no psycopg")
    return folder


def unprivileged() -> str | None:
    """PostgreSQL does not run as root: the user to be instead, or None to stay who we are."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            pwd.getpwnam(name)
            return name
    return None


class Cluster:
    """One PostgreSQL server, a primary or a standby of another."""

    def __init__(self, primary: Cluster | None = None, **settings: str) -> None:
        self._bin = skip_without()
        self._user = unprivileged()
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="geartrain-pg-"))
        self.data = self.folder / "data"
        if self._user:
            shutil.chown(self.folder, self._user)
        if primary is None:
            self._run(
                "initdb", "-D", self.data, "-U", "gt", "--auth=trust", "--no-sync", "-E", "UTF8"
            )
        else:
            self._run(
                "pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast",
                "-d", primary.url("postgres") + "?application_name=standby",
            )  # fmt: skip
        with (self.data / "postgresql.conf").open("a") as file:
            for name, value in {
                "port": str(self.port),
                "listen_addresses": "127.0.0.1",
                "unix_socket_directories": str(self.folder),
                "shared_buffers": "32MB",
                **settings,
            }.items():
                file.write(f"{name} = '{value}'\n")
        self.start()

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [str(self._bin / program), *map(str, arguments)],
            cwd=self.folder,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user else None,
            extra_groups=[] if self._user else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=patient(60),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}")

    def start(self) -> None:
        log = self.folder / "log"
        self._run("pg_ctl", "-D", self.data, "-l", log, "-w", "start")

    def kill(self) -> None:
        """As if the power went: every process at once."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)

    def stop(self) -> None:
        with suppress(RuntimeError):
            self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def promote(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "promote")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://gt@127.0.0.1:{port or self.port}/{database}"


class Proxy:
    """Between a store and its database: passes everything on until it is told not to."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        #: Let the next answer of a batch vanish, and the connection with it.
        self.swallow_next = False
        #: Pass nothing on, close nothing: a cable that was pulled.
        self.frozen = False
        self.refusing = False

    async def start(self) -> Proxy:
        self._server = await asyncio.start_server(self._meet, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.close()
            return
        try:
            other, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, onward}
        for source, sink, answers in ((reader, onward, False), (other, writer, True)):
            task = asyncio.create_task(self._pipe(source, sink, answers))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                # Not the answer to PREPARE: that one comes before anything is done.
                if answers and self.swallow_next and b"SELECT 1\0" in data:
                    self.swallow_next = False
                    break
                while self.frozen:
                    await asyncio.sleep(0.01)
                sink.write(data)
                await sink.drain()
        sink.close()

    def cut(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def stop(self) -> None:
        self.frozen = False
        self.cut()
        for task in list(self._pipes):
            task.cancel()
        if self._server is not None:
            self._server.close()


class Place:
    """A schema of its own, reached through a proxy or straight away."""

    def __init__(self, cluster: Cluster, proxy: Proxy | None = None) -> None:
        self.schema = f"t{next(_numbers)}"
        self.cluster = cluster
        self._proxy = proxy

    @property
    def proxy(self) -> Proxy:
        assert self._proxy is not None
        return self._proxy

    def url(self, *, direct: bool = False, options: str = "") -> str:
        straight = direct or self._proxy is None
        port = self.cluster.port if straight else self.proxy.port
        where = self.cluster.url(port=port)
        return f"{where}?options=-csearch_path%3D{self.schema}{options}"

    async def ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Behind the store's back."""
        import psycopg

        async with await psycopg.AsyncConnection.connect(
            self.url(direct=True), autocommit=True
        ) as db:
            cursor = await db.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def recount(self) -> None:
        """What the counts say must be what is there."""
        counted = await self.ask(
            "SELECT fn, prio, sum(ready)::int, sum(delayed)::int FROM gt_count GROUP BY 1, 2"
            " HAVING sum(ready) <> 0 OR sum(delayed) <> 0"
        )
        there = await self.ask(
            "SELECT fn, prio, count(*) FILTER (WHERE run_at IS NULL),"
            " count(*) FILTER (WHERE run_at IS NOT NULL) FROM gt_job WHERE owner IS NULL GROUP BY 1, 2"
        )
        assert sorted(counted) == sorted(there)
