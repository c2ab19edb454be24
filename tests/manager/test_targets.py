"""What is found behind a target."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from geartrain.errors import ConfigurationError
from geartrain.manager import targets
from geartrain.worker.sync import Worker

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """``write("a.py", code)`` puts a module where it can be imported, for this test alone."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(name: str, code: str = "") -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(code))

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


WORKER = """
    from geartrain.worker.sync import Worker
    worker = Worker("localhost")
    @worker.function(timeout=5, codec="json")
    def shout(job): return job.args.upper()
    @worker.function
    def whisper(job): return job.workload.lower()
"""

APP = """
    class App:
        name = "duck"
        functions = {"quack": None, "swim": None}
        def register(self, worker, only=None, exclude=None):
            for name in only:
                worker.add_function(name, lambda job, name=name: name)
    app = App()
"""


def names(*found: targets.Target) -> list[str]:
    return sorted(name for target in found for name in target.names)


def test_a_worker_is_a_target_and_gives_its_functions_with_their_settings(write: Write) -> None:
    write("loud.py", WORKER)
    ours = Worker("localhost")

    (target,) = targets.load(["loud:worker"])
    target.register(ours, frozenset({"shout"}))

    (ability,) = targets.abilities(ours.functions)
    assert (ability.name, ability.timeout_ms, ability.codec.name) == ("shout", 5000, "json")
    assert names(target) == ["shout", "whisper"]


def test_an_app_is_whatever_has_functions_and_register(write: Write) -> None:
    write("duck.py", APP)
    ours = Worker("localhost")

    (target,) = targets.load(["duck"])
    target.register(ours, frozenset({"swim"}))

    assert [ability.name for ability in targets.abilities(ours.functions)] == ["swim"]
    assert target.source == "duck:app"


def test_a_package_is_searched_for_gearman_functions(write: Write) -> None:
    write("shop/__init__.py")
    write("shop/cart/__init__.py")
    write("shop/cart/gearman_functions.py", WORKER)
    write("shop/cart/other.py", "raise RuntimeError('imported for nothing')")
    write("shop/gearman_functions.py", APP)

    found = targets.load(["shop"])

    assert names(*found) == ["quack", "shout", "swim", "whisper"]


def test_the_same_app_seen_twice_is_one(write: Write) -> None:
    write("shop/__init__.py", "from shop.gearman_functions import app")
    write("shop/gearman_functions.py", APP)

    assert names(*targets.load(["shop", "shop.gearman_functions:app"])) == ["quack", "swim"]


def test_a_directory_has_a_function_in_each_file(write: Write, tmp_path: Path) -> None:
    write("workers/reverse.py", "def reverse(job): return job.workload[::-1]")
    write("workers/count.py", "TIMEOUT = 3\nCODEC = 'json'\ndef run(job): return 1")
    write("workers/send_mail.py", "class SendMail:\n    def run(self, job): return 'sent'")
    write("workers/_shared.py", "X = 1")
    ours = Worker("localhost")

    found = targets.load([], [str(tmp_path / "workers")])
    for target in found:
        target.register(ours, frozenset(target.names))

    by_name = {ability.name: ability for ability in targets.abilities(ours.functions)}
    assert sorted(by_name) == ["count", "reverse", "send_mail"]
    assert by_name["count"].timeout_ms == 3000
    assert by_name["send_mail"].handler(None) == "sent"


def test_a_module_that_needs_a_key_is_given_it(write: Write) -> None:
    write("locked.py", dedent(APP) + "def gearman_target(*, key): app.key = key; return app\n")

    targets.load(["locked"], key=b"secret")

    assert sys.modules["locked"].app.key == b"secret"


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("imagess", "there is no module 'imagess'"),
        ("loud.inside", "there is no module 'loud.inside'"),
        ("loud:app", "loud has no 'app'; it has loud:worker"),
        ("loud:Worker", "loud:Worker is neither an App nor a Worker"),
        ("loud.py", "leave out .py: loud"),
        ("plain", "no App and no Worker in this module"),
        ("empty", "no App and no Worker in this package"),
    ],
)
def test_what_is_no_target_is_named_with_the_way_out(
    write: Write, target: str, complaint: str
) -> None:
    write("loud.py", WORKER)
    write("plain.py", "def f(job): pass")
    write("empty/__init__.py")

    with pytest.raises(ConfigurationError, match=complaint):
        targets.load([target])


def test_an_import_that_fails_inside_a_target_is_not_taken_for_a_missing_target(
    write: Write,
) -> None:
    write("broken.py", "import nowhere_at_all")

    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        targets.load(["broken"])


def test_a_function_in_two_targets_is_an_error(write: Write) -> None:
    write("one.py", APP)
    write("two.py", APP)

    with pytest.raises(ConfigurationError, match="'quack' is in one:app and in two:app"):
        targets.load(["one", "two"])


def test_files_without_a_function_of_their_name_say_what_they_want(
    write: Write, tmp_path: Path
) -> None:
    write("workers/reverse.py", "def revers(job): pass")

    with pytest.raises(ConfigurationError, match=r"want a function reverse\(job\) or run\(job\)"):
        targets.load([], [str(tmp_path / "workers")])


def test_choosing() -> None:
    there = ["a", "b", "c"]

    assert targets.choose(there, [], ["a"], []) == {"b", "c"}
    assert targets.choose(there, ["a", "b"], ["b"], ["a", "b"]) == {"a"}
    with pytest.raises(ConfigurationError, match="no target has a function 'aa'; did you mean a"):
        targets.choose(there, ["aa"], [], ["aa"])
