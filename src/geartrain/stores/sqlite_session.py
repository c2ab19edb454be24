"""A SQLite file that is open: the two threads at it, and what happens to it meanwhile.

One thread writes, one reads beside it, each through a connection of its own; what the store
does with the file goes through ``_write`` and ``_read``. A lone peer's commit is made in the
server's thread, while the one that writes has nothing to do (``lone``). Files may be removed, replaced or
left without room under a server that runs. So each write first looks whether the file and
SQLite's log are the ones that were opened: what went to another would be lost with a
restart. After an error of the disk both connections are made anew, and what is known of the
file (``sqlite_known``) is read again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from geartrain.stores.lane import Answer, Lane
from geartrain.stores.port import Lease, LeaseId, StoreDown, StoreRefused
from geartrain.stores.sqlite_file import (
    FileLock,
    check_place,
    connect,
    explain,
    log_of,
    open_file,
    open_spill,
)
from geartrain.stores.sqlite_known import Known
from geartrain.stores.sqlite_writer import SqliteWriter

T = TypeVar("T")

log = logging.getLogger("geartrain.stores")

CACHE_BYTES: Final = 16 << 20

#: Errors after which the connection is made anew: the disk may be well again.
_STALE: Final = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
                 sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # fmt: skip


def _inode_of(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


class Session:
    """The file, its owner's lock and its threads."""

    def __init__(
        self,
        path: Path | None,
        *,
        spill_folder: str | None = None,
        cache_bytes: int = CACHE_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            path: the file; None for one without a name, which ends with the process.
            spill_folder: where that one is; None for the system's folder for such things.
            cache_bytes: of pages, for each of the two connections.
            wall: seconds since 1970.
        """
        self.path = path
        self._spill_folder = spill_folder
        self._cache_bytes = cache_bytes
        self._wall = wall
        self._name = path or Path("the spill file")
        self._server = ""
        self._lock: FileLock | None = None
        self._inode = (0, 0)
        #: SQLite's own, beside the file: what is in it may be nowhere else.
        self._sqlite_log = ""
        self._log_inode = (0, 0)
        self._lease = LeaseId(0)
        self._open = False
        self._writing = Lane("geartrain-store-writer")
        # A file without a name has one connection for both.
        self._reading = Lane("geartrain-store-reader") if path else self._writing
        self._writer: SqliteWriter | None = None
        self._reader: sqlite3.Connection | None = None
        self._stale = False
        self._known = Known()
        #: Held while a claim reads, or the lease is renewed.
        self._claiming = asyncio.Lock()

    # ── opening and closing ──────────────────────────────────────────────────

    def _open_file(self) -> Lease:
        if self.path is not None:
            check_place(self.path)
            self._lock = FileLock(self.path, self._server)
        try:
            self._connect()
            return self._new_lease()
        except BaseException as error:
            self._disconnect()
            cause = error.__cause__
            if (
                isinstance(error, StoreDown)
                and isinstance(cause, sqlite3.Error)
                and cause.sqlite_errorcode & 0xFF in _STALE
            ):
                raise StoreRefused(str(error)) from cause  # trying again changes nothing
            raise

    def _connect(self, *, again: bool = False) -> None:
        self._disconnect()
        if self.path is None:
            db = open_spill(self._spill_folder, cache_bytes=self._cache_bytes)
            self._reader = db
        else:
            db = open_file(self.path, cache_bytes=self._cache_bytes, again=again)
            try:
                self._inode = _inode_of(self.path)
                self._reader = connect(self.path, cache_bytes=self._cache_bytes, read_only=True)
            except BaseException:
                db.close()
                raise
        self._writer = SqliteWriter(db, self._name, self._wall)
        self._known.recall(self._writer)
        if self.path is not None:
            self._sqlite_log = log_of(self.path)
            self._log_inode = _inode_of(self._sqlite_log)
        self._stale = False

    def _disconnect(self) -> None:
        for db in (self._reader, self._writer.db if self._writer else None):
            if db is not None:
                db.close()
        self._reader = self._writer = None

    def _new_lease(self) -> Lease:
        assert self._writer is not None
        self._lease = LeaseId(self._writer.next_lease())
        return Lease(self._lease, self._writer.floor)

    def _stop(self) -> None:
        self._reading.stop()
        self._writing.stop()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # ── calls to the threads ─────────────────────────────────────────────────

    def _write(self, work: Callable[[SqliteWriter], T], *, here: bool = False) -> Answer[T]:
        def run() -> T:
            writer = self._ready_writer()
            try:
                return work(writer)
            except Exception as error:
                cause = error.__cause__
                if isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode & 0xFF in _STALE:
                    self._stale = True
                raise

        self._check_open()
        return self._writing.call(run, here=here)

    def _ready_writer(self) -> SqliteWriter:
        if self.path is not None:
            try:
                inode = _inode_of(self.path)
            except OSError as error:
                raise StoreDown(
                    f"{self.path} is gone ({error.strerror}); put it back, or restart"
                ) from error
            if inode != self._inode:
                # What is written now would be written to a file without a name.
                raise StoreDown(
                    f"{self.path} was replaced by another file; put it back, or restart"
                )
            if self._stale:
                try:
                    self._connect(again=True)
                except StoreRefused as error:
                    raise StoreDown(str(error)) from error
            self._keep_log()
        assert self._writer is not None
        return self._writer

    def _keep_log(self) -> None:
        """See to it that SQLite writes to a log that would be found after a crash."""
        assert self.path is not None
        assert self._writer is not None
        try:
            inode = _inode_of(self._sqlite_log)
        except OSError:
            # It is still open: all that is in it goes to the file, and then it has a new one.
            self._writer.bring_home()
            self._connect(again=True)
            log.error("%s was removed; what was in it is in %s", self._sqlite_log, self.path)
            return
        if inode != self._log_inode:
            raise StoreDown(
                f"{self._sqlite_log} was replaced by another file; put it back, or remove it"
            )

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            if self._reader is None:
                raise StoreDown(f"{self._name} could not be opened again")
            try:
                return work(self._reader)
            except sqlite3.Error as error:
                raise explain(error, self._name) from error

        self._check_open()
        return await self._reading.call(run)

    def _check_open(self) -> None:
        if not self._open:
            raise StoreDown(f"{self._name} is closed")
