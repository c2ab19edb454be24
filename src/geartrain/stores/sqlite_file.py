"""Opening a SQLite file so that it can be trusted: one owner, right format, right settings.

What is refused here is refused with a text that says what would help.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from geartrain.stores.port import Ambiguous, StoreDown, StoreError, StoreRefused
from geartrain.stores.sql import Migration, migrations
from geartrain.stores.sqlite_wal import commits_cut_off

log = logging.getLogger("geartrain.stores")

#: "GTrn", in the file's header: `file jobs.db` shows it.
APPLICATION_ID: Final = 0x4754726E
#: How long another program (a backup, a shell) may hold the file.
BUSY_MS: Final = 5000
#: 16 MB: small enough to be copied home between two batches.
CHECKPOINT_PAGES: Final = 4000
#: SQLite's own log is made so long in advance: about a thousand small commits.
LOG_BYTES: Final = 4 * 2**20
#: ... and goes back to this once it has been longer: above what it grows to between two copies.
LONGEST_LOG_BYTES: Final = 24 * 2**20

_FOREIGN: Final = "gearman_queue"


class FileLock:
    """Keeps a second server off the file, by whatever name, and says who the first is.

    Two locks of the kernel's, which end with the process, however that ends: one on a file
    beside it, in which the owner's name is; and one on the file itself, for it may have
    several names, and the file beside it may be removed. Not to be relied on over NFS;
    neither is SQLite.
    """

    def __init__(self, path: Path, server: str) -> None:
        """
        Raises:
            StoreRefused: another process has it.
        """
        real = os.path.realpath(path)
        self.path = Path(f"{real}.lock")
        self._fds: list[int] = []
        try:
            beside = self._take(self.path, path)
            # SQLite's own locks on this file end when any descriptor of it is closed: it is
            # opened before, and closed after.
            self._take(Path(real), path)
        except BaseException:
            self.release()
            raise
        try:
            os.ftruncate(beside, 0)
            os.pwrite(beside, f"{server} (process {os.getpid()})\n".encode(), 0)
        except OSError as error:
            # On a full disk what is there can still be done.
            log.warning("cannot write in %s who has %s: %s", self.path, path, error.strerror)

    def _take(self, what: Path, path: Path) -> int:
        try:
            # Jobs hold what their submitters sent: not for everybody's eyes.
            fd = os.open(what, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreRefused(f"cannot open {what}: {error.strerror}") from error
        self._fds.append(fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = ""
            if what == self.path:
                owner = os.read(fd, 200).decode("utf-8", "replace").strip()
            raise StoreRefused(
                f"{path} is in use by {owner or 'another process, perhaps by another name'}; "
                f"one server owns a SQLite store, several can share postgresql://"
            ) from error
        return fd

    def release(self) -> None:
        """Let others have the file. The lock file stays: removing it would race with them."""
        while self._fds:
            os.close(self._fds.pop())


def connect(path: Path, *, cache_bytes: int, read_only: bool = False) -> sqlite3.Connection:
    """One connection with the settings that every connection needs."""
    # Transactions are begun by hand; the lanes keep threads apart.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1e3)
    try:
        db.execute(f"PRAGMA cache_size = -{cache_bytes // 1024}")
        db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        db.execute("PRAGMA synchronous = FULL")
        if read_only:
            db.execute("PRAGMA query_only = 1")
        else:
            db.execute(f"PRAGMA journal_size_limit = {LONGEST_LOG_BYTES}")
    except BaseException:
        db.close()
        raise
    return db


def open_file(
    path: Path, *, cache_bytes: int, steps: list[Migration] | None = None, again: bool = False
) -> sqlite3.Connection:
    """Open the file, made if need be, in today's format.

    Args:
        path: its name.
        cache_bytes: of pages in memory.
        steps: other formats than ours, for a test.
        again: it was open until now; what failed meanwhile may be in SQLite's log.

    Raises:
        StoreRefused: it cannot be opened or written, is none of ours, or too new.
        StoreDown: the disk is full, or another program holds the file.
    """
    check_place(path)
    fresh = not path.exists() or path.stat().st_size == 0
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    try:
        if not (fresh or again):
            _check_log(path)
        db = connect(path, cache_bytes=cache_bytes)
        try:
            _check_format(db, path)
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreRefused(f"{path}: this file system cannot do SQLite's WAL mode")
            migrate(db, path, migrations("sqlite") if steps is None else steps)
            _lengthen_log(path)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        down = explain(error, path)
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
            raise down from error
        raise StoreRefused(str(down)) from error
    if fresh:
        # The file's name must be on the disk before anything in it is promised.
        with suppress(OSError):
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    return db


def log_of(path: Path) -> str:
    """The name of SQLite's own log of a file."""
    return f"{os.path.realpath(path)}-wal"


def _check_log(path: Path) -> None:
    """Nothing that was answered for is dropped in silence.

    Raises:
        StoreRefused: commits are in SQLite's log that it cannot read any more.
    """
    log_name = log_of(path)
    # Who may not write leaves the log behind when it closes; others copy home what fits, and
    # remove the rest.
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        lost = commits_cut_off(log_name)
    except OSError as error:
        raise StoreRefused(f"cannot read {log_name}: {error.strerror}") from error
    finally:
        db.close()
    if lost > 1:
        raise StoreRefused(
            f"{log_name} is damaged: at least {lost} commits in it cannot be read; "
            f"see docs/durability.md, 'A damaged file'"
        )


def _lengthen_log(path: Path) -> None:
    """Have SQLite's log begin with a length that the first commits need not add to.

    Where a file grows, fdatasync waits for the file system's journal as well, which takes
    twice as long as the bytes do, or much longer beside others who write. What is behind the
    last frame is never read: a frame counts only with the checksum of all before it.
    """
    fd = os.open(log_of(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(fd).st_size
        if size >= LOG_BYTES:
            return
        try:
            os.pwrite(fd, bytes(LOG_BYTES - size), size)
            os.fsync(fd)
        except OSError as error:
            # Whoever is short of room shall have what there is for jobs.
            log.debug("%s-wal grows as it goes: %s", path, error.strerror)
            os.ftruncate(fd, size)
    finally:
        os.close(fd)


def open_spill(folder: str | None, *, cache_bytes: int) -> sqlite3.Connection:
    """A file without a name: it ends with the process, and nothing in it is promised.

    Raises:
        StoreRefused: the folder cannot be written.
    """
    try:
        fd, name = tempfile.mkstemp(prefix="geartrain-spill-", suffix=".db", dir=folder)
    except OSError as error:
        raise StoreRefused(f"cannot make a spill file in {folder}: {error.strerror}") from error
    os.close(fd)
    try:
        db = connect(Path(name), cache_bytes=cache_bytes)
        try:
            # A rollback journal in memory, for nothing is to be found after a crash.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = MEMORY")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA synchronous = OFF")
            migrate(db, Path(name), migrations("sqlite"))
        except BaseException:
            db.close()
            raise
    finally:
        os.unlink(name)
    return db


def check_place(path: Path) -> None:
    """A file can be there.

    Raises:
        StoreRefused: it cannot, and why.
    """
    folder = path.parent
    if not folder.is_dir():
        raise StoreRefused(f"{path}: there is no folder {folder}; make it, owned by the server")
    if path.is_dir():
        raise StoreRefused(f"{path} is a folder; name a file in it, such as {path / 'jobs.db'}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreRefused(
            f"{path}: cannot write to {folder}; SQLite keeps its log beside the file"
        )
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise StoreRefused(f"{path}: no permission to read and write it")


def _check_format(db: sqlite3.Connection, path: Path) -> None:
    (mark,) = db.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION_ID:
        return
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if _FOREIGN in tables:
        raise StoreRefused(
            f"{path} is a queue of the C gearmand; name a new file, and take its jobs over "
            f"with: gearadmin import sqlite://{path} TARGET"
        )
    if tables or mark:
        raise StoreRefused(f"{path} is a SQLite file of some other program; name another file")


def migrate(db: sqlite3.Connection, path: Path, steps: list[Migration]) -> None:
    """Bring the file to today's format, each step in a transaction of its own.

    Raises:
        StoreRefused: the file is newer than this program.
    """
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(steps):
        raise StoreRefused(
            f"{path} has format {version}, this geartrain knows up to {len(steps)}; "
            f"it was written by a newer one: use that"
        )
    for step in steps[version:]:
        # executescript would commit first; the statements are ours and end with ";\n".
        db.execute("BEGIN IMMEDIATE")
        try:
            for statement in step.script.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {step.number}")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def shrink(db: sqlite3.Connection) -> None:
    """Forget the pages that are in memory and as they are in the file."""
    db.execute("PRAGMA shrink_memory").fetchall()


def explain(error: sqlite3.Error, path: Path, *, committing: bool = False) -> StoreError:
    """What a SQLite error means to a submitter, and to whoever looks after the disk."""
    found = _explain(error, path, committing)
    # Said here too: ``raise ... from`` does not say it where it is compiled.
    found.__cause__ = error
    return found


def _explain(error: sqlite3.Error, path: Path, committing: bool) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreDown(f"disk full: no room for {path}; free some, it goes on by itself")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreDown(f"another program has held {path} for {BUSY_MS / 1000:g} s")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDown(f"{path} is damaged ({error}); see docs/durability.md, 'A damaged file'")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return StoreDown(f"cannot write {path} ({error})")
    if code == sqlite3.SQLITE_IOERR and committing:
        # The log may hold the batch although the disk said no: a crash now may bring it back.
        return Ambiguous(f"{path}: {error} while committing{_shortage(path)}")
    return StoreDown(f"{path}: {error}{_shortage(path)}")


def _shortage(path: Path) -> str:
    """Why a disk may have said no; SQLite does not always know."""
    try:
        disk = os.statvfs(path.parent)
    except OSError as error:
        return f", and its folder cannot be looked at: {error.strerror}"
    free = disk.f_bavail * disk.f_frsize
    return f"; its disk is full, {free} bytes are free" if free < 2**16 else ""
