"""What others have made of the same job, installed apart from us, and only when asked for.

``--install`` brings them: Celery, Dramatiq and Huey into a venv of their own, Redis and the
PHP extension from Debian (as root). What is absent is left out of the table, and why is said.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.measures import OURS, Unmeasured
from benchmarks.servers import cache, free_port, own_environment, own_python

AGAINST: Final = Path(__file__).with_name("against")

CELERY: Final = "Celery"
DRAMATIQ: Final = "Dramatiq"
HUEY: Final = "Huey"
PHP: Final = "PHP"

#: Those that need Redis, and the script that each runs.
ON_REDIS: Final = {
    CELERY: "celery_jobs.py",
    DRAMATIQ: "dramatiq_jobs.py",
    HUEY: "huey_jobs.py",
}
PACKAGES: Final = ("celery[redis]", "packaging", "dramatiq[redis]", "huey", "redis")
DEBIAN: Final = ("redis-server", "php-cli", "php-gearman")

#: Longest that a client may take.
PATIENCE: Final = 900.0


def venv_python() -> Path:
    """The Python that has Celery, Dramatiq and Huey."""
    return cache() / "peers" / "bin" / "python"


def install() -> None:
    """Bring all of them."""
    if not venv_python().exists():
        subprocess.run([sys.executable, "-m", "venv", str(cache() / "peers")], check=True)
    subprocess.run([str(venv_python()), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    if os.geteuid() == 0 and shutil.which("apt-get"):
        # RUNLEVEL=1: Redis comes as a program; no service is to be started.
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        words = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *DEBIAN]
        subprocess.run(words, env=quiet, check=True, stdout=subprocess.DEVNULL)


def absent(peer: str) -> str:
    """Why a peer cannot be run here; empty when it can."""
    if peer == OURS:
        return ""
    if peer == PHP:
        php = shutil.which("php")
        if php is None:
            return "php is absent; --install brings it"
        asked = subprocess.run([php, "-m"], capture_output=True, text=True, check=False)
        return "" if "gearman" in asked.stdout.split() else "php-gearman is absent; --install"
    if shutil.which("redis-server") is None:
        return "redis-server is absent; --install brings it"
    if not venv_python().exists():
        return f"{peer} is absent; --install brings it"
    words = [str(venv_python()), "-c", f"import {peer.lower()}"]
    asked = subprocess.run(words, capture_output=True, text=True, check=False)
    return "" if asked.returncode == 0 else f"{peer} is absent; --install brings it"


def version(peer: str) -> str:
    """Its version, for the report."""
    if peer == PHP:
        words = ["php", "-r", 'echo PHP_VERSION, ", gearman ", phpversion("gearman");']
    else:
        name = peer.lower()
        words = [
            str(venv_python()),
            "-c",
            f"from importlib.metadata import version; print(version({name!r}))",
        ]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def words(peer: str, what: str, server: str, count: int = 0) -> list[str]:
    """The command for one part of a peer."""
    if peer == OURS:
        start = [own_python(), str(AGAINST / "geartrain_jobs.py")]
    elif peer == PHP:
        start = ["php", str(AGAINST / "php_jobs.php")]
    else:
        start = [str(venv_python()), str(AGAINST / ON_REDIS[peer])]
    return [*start, what, server, *([str(count)] if count else [])]


def client(peer: str, what: str, server: str, count: int) -> dict[str, float]:
    """Run a client; what it measured.

    Raises:
        Unmeasured: it failed.
    """
    try:
        done = subprocess.run(
            words(peer, what, server, count),
            capture_output=True,
            text=True,
            check=False,
            env=own_environment(),
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"the client did not end within {PATIENCE:g} s") from None
    if done.returncode:
        raise Unmeasured(f"the client ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    return {key: float(value) for key, value in json.loads(done.stdout).items()}


@contextlib.contextmanager
def worker(peer: str, server: str, what: str = "worker") -> Iterator[None]:
    """A worker process."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            words(peer, what, server),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=own_environment(),
        )
        try:
            yield
        finally:
            child.kill()
            child.wait()


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """A Redis of our own that keeps nothing on disk; its address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        command += ["--save", "", "--appendonly", "no"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    if time.monotonic() > end or child.poll() is not None:
                        raise Unmeasured("redis-server did not start") from None
                    time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            child.terminate()
            child.wait()


def library() -> None:
    """Is our library there?

    Raises:
        Unmeasured: it is not.
    """
    for module in ("geartrain.client", "geartrain.worker"):
        if importlib.util.find_spec(module) is None:
            raise Unmeasured(f"{module} is not installed; `make setup` installs it")
