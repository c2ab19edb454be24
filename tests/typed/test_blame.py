"""What a failed job says of where it failed: the user's lines, and not ours."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

import geartrain
from geartrain.typed.app import App

Ready = Callable[[App], contextlib.AbstractContextManager[Any]]


def inner(a: int) -> float:
    return 1 / (a - a)


def shop() -> App:
    app = App("shop")

    @app.middleware
    def around(job: geartrain.Job, call_next: Callable[[geartrain.Job], Any]) -> Any:
        return call_next(job)

    @app.function
    def divide(a: int) -> float:
        return inner(a)

    @app.function
    async def wait(a: int) -> float:
        return inner(a)

    return app


@pytest.mark.parametrize("name", ["divide", "wait"])
def test_a_remote_traceback_has_no_line_of_ours(ready: Ready, name: str) -> None:
    app = shop()

    with ready(app), pytest.raises(geartrain.JobException) as caught:
        app.functions[name].do(3)

    remote = caught.value.remote_traceback
    assert "return 1 / (a - a)" in remote
    assert f"in {name}" in remote
    if name == "divide":
        assert "in around" in remote, "middleware is the user's"
    assert "geartrain/" not in remote.replace("tests/", "")
    assert "asyncio" not in remote
    assert "In the worker:" in "".join(caught.value.__notes__)


def test_what_cannot_be_decoded_is_told_in_one_line(
    ready: Ready, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop()

    with (
        ready(app),
        caplog.at_level(logging.ERROR),
        pytest.raises(geartrain.JobException) as caught,
    ):
        app.client.do("divide", b'{"a": "three"}')

    error = caught.value
    assert error.type_name == "geartrain.DecodeError"
    assert "$.a" in str(error), "the text says where"
    assert not error.remote_traceback
    assert not hasattr(error, "__notes__")
    assert "Traceback" not in caplog.text
    assert "$.a" in caplog.text


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    from geartrain.worker.blame import traceback_of

    scope: dict[str, Any] = {"__name__": "geartrain.worker.fake"}
    exec("def broken(): raise KeyError('ours')", scope)
    try:
        scope["broken"]()
    except KeyError as error:
        kept = error.with_traceback(error.__traceback__.tb_next)  # type: ignore[union-attr]
        assert "in broken" in traceback_of(kept)
