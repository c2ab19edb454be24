"""What an editor shows red: mypy --strict on a user's file, line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import geartrain
from tests.support import patient

USER = """
from collections.abc import Generator
from typing import assert_type
import geartrain
from geartrain import App, Function, Handle, Task

app = App("images")

@app.function("shrink_image", timeout=60, retry=geartrain.Retry(2, on=OSError))
def shrink(src: str, dest: str, width: int, height: int | None = None) -> str:
    return dest

@app.function
async def fetch(url: str) -> bytes:
    return b""

@app.function
def count(n: int) -> Generator[int, None, str]:
    yield n
    return ""

@app.remote
def crop(src: str) -> bool:
    raise NotImplementedError

assert_type(shrink.do("a", "b", width=1), str)
assert_type(shrink("a", "b", 1), str)
assert_type(shrink.submit("a", "b", 1), Task[str])
assert_type(shrink.do_background("a", "b", 1), Handle)
assert_type(shrink.submit_background("a", "b", 1), Task[None])
assert_type(shrink.options(priority="low", unique="x").do("a", "b", 1), str)
assert_type(fetch.do("u"), bytes)
assert_type(count.do(1), str)
assert_type(crop.do("a"), bool)

shrink.do("a", "b")  # E: Missing positional argument "width" in call to "do" of "Function"
shrink.do("a", "b", width="1")  # E: Argument "width" to "do" of "Function" has incompatible type "str"; expected "int"
shrink.submit("a", "b", 1, depth=3)  # E: Unexpected keyword argument "depth" for "submit" of "Function"
shrink.options(prio="low")  # E: Unexpected keyword argument "prio"
shrink.options(priority="urgent")  # E: Argument "priority" to "options" of "Function" has incompatible type
fetch.do(1)  # E: Argument 1 to "do" of "Function" has incompatible type "int"; expected "str"
n: int = shrink.do("a", "b", 1)  # E: Incompatible types in assignment (expression has type "str", variable has type "int")
fetch.do("u") + 1  # E: Unsupported operand types
await_me = fetch("u")
await_me + 1  # E: Unsupported operand types for + ("Coroutine[Any, Any, bytes]"
app.function(codecs="json")  # E: Unexpected keyword argument "codecs"

client = geartrain.Client()
assert_type(client.do("reverse", b"x", unique="u", timeout=2.5), bytes)
assert_type(client.submit("reverse"), Task[bytes])
assert_type(client.gather([client.submit("reverse")]), list[bytes])
client.do("reverse", 12)  # E: Argument 2 to "do" of "Client" has incompatible type "int"
client.do("reverse", uniqe="u")  # E: Unexpected keyword argument "uniqe" for "do" of "Client"
client.do("reverse", priority="urgent")  # E: Argument "priority" to "do" of "Client" has incompatible type
client.do_background("reverse", on_data=print)  # E: Unexpected keyword argument "on_data"
client.do_background("reverse", when="tomorrow")  # E: Argument "when" to "do_background" of "Client" has incompatible type
geartrain.Worker(pool="fibre")  # E: Argument "pool" to "Worker" has incompatible type

worker = geartrain.AsyncWorker()

@worker.function("wc", timeout=30)
async def wc(job: geartrain.Job) -> str:
    assert_type(await job.aio_client.do("reverse", job.workload), bytes)
    job.send_status("1", 2)  # E: Argument 1 to "send_status" of "Job" has incompatible type "str"
    return str(len(job.text()))

async def main() -> None:
    async with geartrain.AsyncClient() as aclient:
        assert_type(await aclient.do("reverse"), bytes)
        assert_type(await shrink.aio.do("a", "b", 1), str)
        await shrink.aio.do("a")  # E: Missing positional arguments "dest", "width" in call to "do"
"""


@pytest.mark.once  # mypy reads src/, as Python 3.11 has it
def test_a_wrong_argument_is_an_error_of_the_type_checker(tmp_path: Path, root: Path) -> None:
    lines = USER.strip().splitlines()
    (tmp_path / "user.py").write_text("\n".join(lines) + "\n")
    # The plain files: they are what an editor reads, in any build.
    source = root / "src"
    environ = {**os.environ, "MYPYPATH": str(source), "PYTHONPATH": str(source)}

    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file="]
        + ["--python-version=3.11", f"--cache-dir={root / '.mypy_cache' / 'users'}", "user.py"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=patient(100),
    )

    found: dict[int, str] = {}
    for row in result.stdout.splitlines():
        match = re.match(r"user\.py:(\d+): error: (.*)", row)
        if match:
            found.setdefault(int(match[1]), match[2])
    wanted = {n: line.split("# E: ")[1] for n, line in enumerate(lines, 1) if "# E: " in line}
    assert found.keys() == wanted.keys(), result.stdout + result.stderr
    for number, text in wanted.items():
        assert found[number].startswith(text), found[number]


def test_the_public_names_are_the_typed_ones() -> None:
    assert geartrain.App().function(len).name == "len"
