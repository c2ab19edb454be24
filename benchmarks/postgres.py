"""A PostgreSQL of our own for a measurement: Debian's programs, a data directory that goes away."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measures import Unmeasured
from benchmarks.servers import free_port


def programs() -> Path:
    """Where ``initdb`` and ``postgres`` are; Debian keeps them off the PATH.

    Raises:
        Unmeasured: they are absent.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    on_path = shutil.which("postgres")
    if not found and on_path is None:
        raise Unmeasured("PostgreSQL is absent; `apt-get install postgresql` brings it")
    return found[-1].parent if found else Path(str(on_path)).resolve().parent


def _someone() -> pwd.struct_passwd | None:
    """Whom it is run as: it refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Unmeasured("PostgreSQL does not run as root, and there is neither postgres nor nobody")


@contextlib.contextmanager
def running() -> Iterator[int]:
    """A server that syncs every commit, as it comes; its port. The user is ``bench``.

    Raises:
        Unmeasured: there is none, or it does not start.
    """
    where, who, port = programs(), _someone(), free_port()
    user = who.pw_uid if who else None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data, log = f"{folder}/data", f"{folder}/log"
        if who:
            os.chown(folder, who.pw_uid, who.pw_gid)
        made = subprocess.run(
            [str(where / "initdb"), "-D", data, "-U", "bench", "--auth=trust", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            user=user,
            cwd=folder,
        )
        if made.returncode:
            raise Unmeasured(f"initdb: {made.stderr.strip()[-300:]}")
        words = [str(where / "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", ""]
        with open(log, "wb") as said:
            child = subprocess.Popen(words, stdout=said, stderr=said, user=user, cwd=folder)
        try:
            if not _answers(where, port, child):
                raise Unmeasured(f"PostgreSQL did not start: {Path(log).read_text()[-300:]}")
            yield port
        finally:
            child.terminate()
            child.wait()


def _answers(where: Path, port: int, child: subprocess.Popen[bytes]) -> bool:
    end = time.monotonic() + 30
    ask = [str(where / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "bench"]
    while time.monotonic() < end and child.poll() is None:
        if subprocess.run(ask, check=False).returncode == 0:
            return True
        time.sleep(0.1)
    return False
