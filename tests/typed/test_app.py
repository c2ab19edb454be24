"""Apps and their functions, inline and through a real server alike."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import geartrain
from geartrain.client.options import BY_WORKLOAD
from geartrain.codecs import Compressed, Pickle, Signed
from geartrain.errors import ConfigurationError, Fail
from geartrain.retry import Retry
from geartrain.testing import EmbeddedServer
from geartrain.typed.app import App
from geartrain.worker.job import Job, Status, current_job
from tests.typed.conftest import Serving

Ready = Callable[[App], contextlib.AbstractContextManager[Any]]
KEY = b"0123456789abcdef0123456789abcdef"


@dataclass
class Box:
    width: int
    height: int = 1


def sums() -> App:
    app = App("sums")

    @app.function
    def add(a: int, b: int = 2) -> int:
        return a + b

    return app


# ── calling ──────────────────────────────────────────────────────────────────


def test_a_typed_function_returns_what_its_worker_returned(ready: Ready) -> None:
    app = App()

    @app.function
    def area(box: Box, factor: float = 1) -> dict[str, float]:
        return {"area": box.width * box.height * factor}

    with ready(app):
        assert area.do(Box(3, 4)) == {"area": 12}
        assert area.do(Box(3, 4), factor=2.5) == {"area": 30}
        assert area.submit(Box(1)).result() == {"area": 1}
        assert area.do_background(Box(2))
        assert area.submit_background(Box(2)).result() is None


def test_a_local_call_needs_no_server() -> None:
    app = sums()

    assert app.functions["add"](1) == 3


def test_wrong_arguments_fail_at_the_call() -> None:
    add = sums().functions["add"]

    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        add.do()
    with pytest.raises(TypeError, match="unexpected keyword argument 'c'"):
        add.do(1, c=2)
    with pytest.raises(TypeError, match="no option 'prio'"):
        add.options(prio="low")  # type: ignore[call-arg]
    with pytest.raises(geartrain.EncodeError):
        add.do(object())


def test_an_argument_of_the_wrong_type_fails_the_job_and_says_where(ready: Ready) -> None:
    app = sums()

    with ready(app), pytest.raises(geartrain.JobException, match=r"\$\.a") as caught:
        app.functions["add"].do("one")

    assert caught.value.type_name == "geartrain.DecodeError"


def test_an_exception_reaches_the_caller_with_type_message_and_traceback(ready: Ready) -> None:
    app = App()

    @app.function
    def divide(a: int, b: int) -> float:
        return a / b

    with ready(app):
        with pytest.raises(geartrain.JobException, match="division by zero") as caught:
            divide.do(1, 0)
        assert divide.do(1, 2) == 0.5

    assert caught.value.type_name == "ZeroDivisionError"
    assert "return a / b" in caught.value.remote_traceback
    assert "return a / b" in caught.value.__notes__[0]


def test_fail_tells_its_reason(ready: Ready) -> None:
    app = App()

    @app.function
    def refuse() -> None:
        raise Fail("bad width 0")

    with ready(app), pytest.raises(geartrain.JobException, match=r"^bad width 0$"):
        refuse.do()


def test_an_async_function_is_seen_as_its_result(ready: Ready) -> None:
    app = App()

    @app.function
    async def double(n: int) -> int:
        current_job().send_status(1, 2)
        return 2 * n

    with ready(app):
        task = double.submit(21)

        assert task.result() == 42
        assert task.progress is not None
        assert task.progress.fraction == 0.5


def test_what_a_generator_yields_is_sent_and_what_it_returns_is_the_result(ready: Ready) -> None:
    app = App()

    @app.function
    def count(n: int) -> Generator[Any, None, int]:
        for i in range(n):
            yield {"at": i}
            yield Status(i + 1, n)
        return n

    pieces: list[bytes] = []
    with ready(app):
        assert count.do(2) == 2
        assert count.options(on_data=lambda task, data: pieces.append(data)).do(2) == 2

        task = count.submit(2)
        assert task.result() == 2
        streamed = list(count.submit(2).data())
        untold = [type(event).__name__ for event in task.events()]

    assert [json.loads(piece) for piece in pieces] == [{"at": 0}, {"at": 1}]
    assert [json.loads(piece) for piece in streamed] == [{"at": 0}, {"at": 1}, 2]
    assert untold == ["JobCreated", "WorkData", "WorkStatus"] + ["WorkData", "WorkStatus"] + [
        "WorkComplete"
    ]


def test_map_keeps_the_order_or_not(ready: Ready) -> None:
    app = sums()

    with ready(app):
        add = app.functions["add"]

        assert list(add.map(range(50), window=7)) == [n + 2 for n in range(50)]
        assert list(add.starmap([(1, 1), (2, 2)])) == [2, 4]
        assert sorted(add.map(range(50), window=7, ordered=False)) == [n + 2 for n in range(50)]


def test_map_reads_no_further_ahead_than_its_window(ready: Ready) -> None:
    app = sums()
    read: list[int] = []

    def numbers() -> Iterator[int]:
        for n in range(1000):
            read.append(n)
            yield n

    with ready(app):
        results = app.functions["add"].map(numbers(), window=5)

        assert [next(results) for _ in range(3)] == [2, 3, 4]
        assert len(read) <= 8


# ── on the wire ──────────────────────────────────────────────────────────────


def test_the_workload_is_the_plain_object_of_the_named_arguments(ready: Ready) -> None:
    app = App()
    seen: list[bytes] = []

    @app.function("shrink_image")
    def shrink(src: str, dest: str, width: int, height: int | None = None) -> str:
        seen.append(current_job().workload)
        return dest

    with ready(app):
        assert shrink.do("a.jpg", width=200, dest="b.jpg") == "b.jpg"
        # What anybody else may send.
        other = json.dumps({"width": 10, "dest": "é", "src": "s", "height": None})
        assert app.client.do("shrink_image", other) == b'"\xc3\xa9"'

    assert json.loads(seen[0]) == {"src": "a.jpg", "dest": "b.jpg", "width": 200}
    assert list(json.loads(seen[0])) == ["src", "dest", "width"]


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (b"{", "is not the JSON expected"),
        (b"[1]", "[Oo]bject|object"),
        (b'{"b":1}', "`a`|'a'"),
        (b'{"a":1,"c":1}', "`c`|'c'"),
        (b'{"a":true}', "int"),
        (b"", "'a' is missing"),
    ],
)
def test_a_workload_that_does_not_decode_fails_the_job_with_the_reason(
    ready: Ready, workload: bytes, reason: str
) -> None:
    app = sums()

    with ready(app), pytest.raises(geartrain.JobException, match=reason):
        app.client.do("add", workload)


@pytest.mark.parametrize(
    "codec",
    ["json", "msgpack", Pickle(KEY), Signed("json", KEY), Compressed("json", 1), Signed(Compressed("msgpack"), KEY)],
    ids=lambda codec: codec if isinstance(codec, str) else codec.name,
)  # fmt: skip
def test_every_codec_carries_a_call(ready: Ready, codec: Any) -> None:
    app = App(codec=codec)

    @app.function
    def join(parts: list[str], times: int = 1) -> str:
        return "-".join(parts) * times

    with ready(app):
        assert join.do(["a", "b"], times=2) == "a-ba-b"


def test_a_call_that_is_not_signed_is_not_decoded(ready: Ready) -> None:
    app = App(codec=Pickle(KEY))

    @app.function
    def run(a: int) -> int:
        raise AssertionError("never")

    with ready(app), pytest.raises(geartrain.JobException, match="not signed with our key"):
        app.client.do("run", b"cos\nsystem\n(S'true'\ntR.")


def test_bytes_and_text_travel_bare(ready: Ready) -> None:
    app = App()

    @app.function(codec="bytes")
    def reverse(data: bytes) -> bytes:
        return data[::-1]

    @app.function(codec="text")
    def upper(text: str) -> str:
        return text.upper()

    @app.function(codec="bytes")
    def nothing() -> None: ...

    with ready(app):
        assert reverse.do(b"abc\xff") == b"\xffcba"
        assert upper.do("é") == "É"
        nothing.do()


def test_one_argument_may_travel_bare_in_json_too(ready: Ready) -> None:
    app = App()

    @app.function(value=True)
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    with ready(app):
        assert total.do([1, 2, 3]) == 6
        assert app.client.do("total", b"[4,5]") == b"9"


def test_arguments_of_every_kind_arrive(ready: Ready) -> None:
    app = App()

    @app.function
    def show(a: int, /, b: int, *rest: int, c: int = 5, **more: str) -> list[Any]:
        return [a, b, list(rest), c, more]

    with ready(app):
        assert show.do(1, 2) == [1, 2, [], 5, {}]
        assert show.do(1, b=2, c=3, x="y") == [1, 2, [], 3, {"x": "y"}]
        assert show.do(1, 2, 3, 4, c=6, x="y") == [1, 2, [3, 4], 6, {"x": "y"}]


def test_a_signature_alone_calls_what_is_done_elsewhere(
    server: EmbeddedServer, serving: Serving
) -> None:
    theirs = sums()
    ours = App(servers=server.address)

    @ours.remote
    def add(a: int, b: int = 2) -> int:
        raise AssertionError("not here")

    with serving(theirs), ours:
        assert add.do(40) == 42
    with pytest.raises(NotImplementedError, match=r"call it with add\.do"):
        add(1)
    assert not ours.functions


# ── keys, priorities ─────────────────────────────────────────────────────────


def test_the_key_of_a_job_is_made_from_its_arguments(ready: Ready) -> None:
    app = App()

    @app.function(unique=lambda src, width=0: f"{src}-{width}", priority="low")
    def shrink(src: str, width: int = 0) -> str:
        return current_job().unique.decode()

    @app.function(unique=BY_WORKLOAD)
    def digest(src: str) -> str:
        return current_job().unique.decode()

    with ready(app):
        assert shrink.do("a", width=3) == "a-3"
        assert shrink.options(unique="mine").do("a") == "mine"
        assert shrink.submit("a").priority == 2
        assert shrink.options(priority="high").submit("a").priority == 0
        assert digest.do("a") == digest.do("a") != digest.do("b")


def test_a_job_may_wait_for_its_time(server: EmbeddedServer, serving: Serving) -> None:
    app = App()
    ran: list[float] = []

    @app.function
    def note() -> None:
        ran.append(time.monotonic())

    with serving(app):
        note.options(when=10**10).do_background()
        note.do()
        with pytest.raises(TypeError, match="'when'"):
            note.options(when=10**10).do()

        assert len(ran) == 1


# ── retry, middleware, lifespan ──────────────────────────────────────────────


def test_a_worker_tries_again_while_it_holds_the_job(ready: Ready) -> None:
    app = App()
    attempts: list[str] = []

    @app.function(retry=Retry(3, backoff=0, on=OSError))
    def flaky(fail: int) -> str:
        attempts.append(current_job().handle)
        if len(attempts) <= fail:
            raise OSError("not yet")
        return "done"

    with ready(app):
        assert flaky.do(2) == "done"
        assert len(attempts) == 3
        assert len(set(attempts)) == 1
        attempts.clear()
        with pytest.raises(geartrain.JobException, match="not yet"):
            flaky.do(3)
        assert len(attempts) == 3


def test_fail_and_other_errors_are_not_tried_again(ready: Ready) -> None:
    app = App(retry=5)
    attempts: list[str] = []

    @app.function
    async def refuse() -> None:
        attempts.append("refuse")
        raise Fail("no")

    @app.function(retry=Retry(5, on=OSError))
    def other() -> None:
        attempts.append("other")
        raise ValueError("no")

    with ready(app):
        for function in (refuse, other):
            with pytest.raises(geartrain.JobException):
                function.do()

    assert attempts == ["refuse", "other"]


def test_middleware_goes_around_in_order_and_sees_arguments_and_results(ready: Ready) -> None:
    app = App()
    story: list[Any] = []

    @app.middleware
    def outer(job: Job, call_next: Callable[[Job], Any]) -> Any:
        story.append(("outer", job.function, job.args))
        result = call_next(job)
        story.append(("outer", result))
        return result * 10

    @app.middleware
    def inner(job: Job, call_next: Callable[[Job], Any]) -> Any:
        story.append("inner")
        return call_next(job)

    @app.function
    def add(a: int, b: int) -> int:
        return a + b

    with ready(app):
        assert add.do(1, b=2) == 30

    assert story == [("outer", "add", {"a": 1, "b": 2}), "inner", ("outer", 3)]


def test_async_middleware_goes_around_both_kinds_of_function(ready: Ready) -> None:
    app = App()
    story: list[str] = []

    @app.middleware
    async def around(job: Job, call_next: Callable[[Job], Any]) -> Any:
        story.append("before")
        result = await call_next(job)
        story.append("after")
        return result

    @app.function
    def plain() -> str:
        return current_job().function

    @app.function
    async def awaited() -> str:
        return current_job().function

    with ready(app):
        assert plain.do() == "plain"
        assert awaited.do() == "awaited"

    assert story == ["before", "after"] * 2


def test_a_lifespan_is_entered_once_and_its_value_is_the_jobs_context(ready: Ready) -> None:
    app = App()
    story: list[str] = []

    @app.lifespan
    def database() -> Iterator[str]:
        story.append("open")
        yield "connection"
        story.append("close")

    @app.function
    def query() -> str:
        return str(current_job().context)

    with ready(app):
        assert story == []
        assert query.do() == query.do() == "connection"
        assert story == ["open"]

    assert story == ["open", "close"]


# ── apps in apps ─────────────────────────────────────────────────────────────


def test_an_included_app_lives_under_its_prefix_and_the_outer_ones_middleware(ready: Ready) -> None:
    outer, users = App("outer", namespace="shop-"), App("users")
    story: list[str] = []

    @users.function
    def find(name: str) -> str:
        return f"{current_job().context}:{name}"

    @outer.lifespan
    def life() -> Iterator[str]:
        yield "outer"

    @outer.middleware
    def note(job: Job, call_next: Callable[[Job], Any]) -> Any:
        story.append(job.function)
        return call_next(job)

    outer.include(users, prefix="users.")

    assert list(outer.functions) == ["users.find"]
    assert find.name == "users.find"
    with ready(outer):
        assert find.do("ann") == "outer:ann"
    assert story == ["users.find"]


def test_two_functions_of_one_name_are_refused() -> None:
    app, other = sums(), sums()

    with pytest.raises(ConfigurationError, match="two functions 'add'"):
        app.include(other)
    app.include(other, prefix="more.")
    with pytest.raises(ConfigurationError, match="two functions 'add'"):
        app.function("add")(len)
    with pytest.raises(ConfigurationError, match="is part of"):
        sums().include(other)


def test_register_takes_some_functions() -> None:
    app = App()
    for name in ("a", "b", "c"):
        app.function(name)(len)

    class Stub:
        namespace = ""

        def __init__(self) -> None:
            self.names: list[str] = []

        def add_function(self, name: str, fn: object, /, **options: object) -> None:
            self.names.append(name)

    some, most = Stub(), Stub()
    app.register(some, only=["b"])
    app.register(most, exclude=["b"])

    assert (some.names, most.names) == (["b"], ["a", "c"])


@pytest.mark.parametrize(
    ("declare", "reason"),
    [
        (lambda app: app.function(codec="bytes")(lambda a, b: a), "sends one argument"),
        (lambda app: app.function(value=True)(lambda *a: a), "value=True sends one argument"),
        (lambda app: app.function(codec="pickle")(lambda a: a), "pickle needs a key"),
        (lambda app: app.function(priority="urgent")(lambda a: a), "priority = 'urgent'"),
        (lambda app: app.function("a\0b")(lambda a: a), "cannot be called"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_declared(
    declare: Callable[[App], Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        declare(App())


def test_a_job_may_submit_further_jobs(ready: Ready) -> None:
    app = App()

    @app.function
    def inner(n: int) -> int:
        return n + 1

    @app.function
    def outer(n: int) -> bool:
        # Background: this worker does one job at a time.
        return bool(inner.do_background(n)) and bool(
            current_job().client.do_background("inner", b'{"n":1}')
        )

    with ready(app):
        assert outer.do(1)


def test_inline_a_function_that_nobody_does_is_an_error() -> None:
    app = App()

    @app.remote
    def crop(src: str) -> str:
        raise AssertionError

    with app.inline(), pytest.raises(geartrain.NoWorkers):
        crop.do("a")
