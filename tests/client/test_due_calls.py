"""Callbacks that are due: called in order, by whoever leads, each whatever the others do."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from geartrain.client.due_calls import DueCalls
from geartrain.client.events import WorkData
from geartrain.client.options import callbacks_of
from geartrain.client.task import BaseTask


def task(said: list[bytes]) -> BaseTask[bytes]:
    task: BaseTask[bytes] = BaseTask("f", b"f", b"", b"", False, None)
    task.callbacks = callbacks_of({"on_data": lambda _, data: said.append(data)})
    return task


def test_what_is_due_is_called_once_in_order() -> None:
    said: list[bytes] = []
    callbacks, one = DueCalls(), task(said)
    callbacks.tell(one, WorkData(b"a"), False)
    callbacks.tell(one, WorkData(b"b"), False)
    callbacks.call(lambda _: said.append(b"c"), one)

    callbacks.run()
    callbacks.run()

    assert said == [b"a", b"b", b"c"]


def test_a_callback_that_fails_is_told_and_keeps_no_other_from_being_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[bytes] = []
    callbacks, one = DueCalls(), task(said)

    def fail(_: Any) -> None:
        raise ValueError("mine")

    callbacks.call(fail, one)
    callbacks.call(lambda _: said.append(b"after"), one)

    with caplog.at_level(logging.ERROR, "geartrain.client"):
        callbacks.run()

    assert said == [b"after"]
    assert "a callback of" in caplog.text


def test_what_is_cleared_is_called_by_nobody() -> None:
    said: list[bytes] = []
    callbacks, one = DueCalls(), task(said)
    callbacks.tell(one, WorkData(b"a"), False)
    callbacks.call(lambda _: said.append(b"b"), one)

    callbacks.clear()
    callbacks.run()

    assert said == []
