"""gearload, the load generator: one C file that knows no server's secrets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.measures import Unmeasured
from benchmarks.servers import Running, cache

SOURCE: Final = Path(__file__).with_name("gearload.c")

#: Longest that one run may take. It notices by itself when nothing moves for 30 s.
PATIENCE: Final = 1800.0


def path() -> Path:
    """The program; compiled when its source is not the one compiled last.

    Raises:
        Unmeasured: there is no C compiler.
    """
    sum_of = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    program = cache() / f"gearload-{sum_of}"
    if not program.exists():
        compiler = os.environ.get("CC") or "cc"
        made = program.with_name(f"{program.name}.{os.getpid()}")
        try:
            subprocess.run(
                [compiler, "-O2", "-w", "-o", str(made), str(SOURCE)],
                check=True,
                capture_output=True,
                text=True,
            )
        except FileNotFoundError:
            raise Unmeasured(
                f"no C compiler ({compiler}); `apt-get install gcc libc6-dev`"
            ) from None
        except subprocess.CalledProcessError as error:
            raise Unmeasured(f"gearload.c does not compile: {error.stderr[-500:]}") from None
        made.replace(program)
    return program


def command(
    server: Running,
    mode: str,
    *,
    jobs: int = 0,
    clients: int = 0,
    workers: int = 0,
    depth: int = 0,
    payload: int | None = None,
    functions: int = 0,
    uniques: int = 0,
) -> list[str]:
    """The words of one run."""
    words = [str(path()), server.address, mode, "-P", str(server.pid)]
    for letter, number in (
        ("-n", jobs),
        ("-c", clients),
        ("-w", workers),
        ("-d", depth),
        ("-f", functions),
        ("-u", uniques),
    ):
        if number:
            words += [letter, str(number)]
    if payload is not None:
        words += ["-s", str(payload)]
        if payload > 2**20:
            # It builds a packet on its stack.
            words = ["sh", "-c", 'ulimit -s unlimited && exec "$@"', "sh", *words]
    return words


def load(
    server: Running,
    mode: str,
    *,
    jobs: int = 0,
    clients: int = 0,
    workers: int = 0,
    depth: int = 0,
    payload: int | None = None,
    functions: int = 0,
    uniques: int = 0,
) -> dict[str, float]:
    """Run it against a server; what it measured.

    Raises:
        Unmeasured: it stalled, or the server refused something.
    """
    words = command(
        server,
        mode,
        jobs=jobs,
        clients=clients,
        workers=workers,
        depth=depth,
        payload=payload,
        functions=functions,
        uniques=uniques,
    )
    return run(words)


def run(words: Sequence[str]) -> dict[str, float]:
    """Run the words of ``command``; what it measured."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    if done.returncode:
        raise Unmeasured(f"gearload ended with {done.returncode}: {done.stderr.strip()[-300:]}")
    said = json.loads(done.stdout)
    if said.get("errors"):
        raise Unmeasured(f"gearload met {said['errors']} errors: {done.stderr.strip()[-300:]}")
    return {key: float(value) for key, value in said.items() if key != "mode"}
