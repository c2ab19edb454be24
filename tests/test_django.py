"""Django's tasks on a real job server: those of Django 6, or of django-tasks before it."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import geartrain
from geartrain.testing import EmbeddedServer

if importlib.util.find_spec("django") is None or not (
    importlib.util.find_spec("django.tasks") or importlib.util.find_spec("django_tasks")
):
    pytest.skip("neither Django 6 nor django-tasks is installed", allow_module_level=True)

_CACHE = tempfile.mkdtemp(prefix="geartrain-django-")
os.environ["DJANGO_CACHE"] = _CACHE
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.django_project.settings"

import django  # noqa: E402

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import CommandError, call_command  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from geartrain.django.tasks import (  # noqa: E402
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.django_project import tasks  # noqa: E402


def at(servers: str) -> Any:
    """The settings, with these servers."""
    backends = {alias: dict(params) for alias, params in settings.TASKS.items()}
    for alias in ("default", "mute"):
        backends[alias]["OPTIONS"] = {**backends[alias].get("OPTIONS", {}), "servers": servers}
    return override_settings(TASKS=backends)


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as server, at(server.address):
        yield server
        task_backends["default"].client.close()
        task_backends["mute"].client.close()


def work(**options: Any) -> str:
    """Do what there is to do; what the command prints."""
    out = io.StringIO()
    call_command("gearman_worker", burst=True, stdout=out, **options)
    return out.getvalue()


def test_enqueue_submits_and_a_worker_does_it(server: EmbeddedServer) -> None:
    result = tasks.add.enqueue(1, b=2)
    assert result.status == TaskResultStatus.READY
    with geartrain.AdminClient(server.address) as admin:
        assert admin.status()[0].function == "shop.django.default"
        assert admin.show_unique_jobs() == [result.id]

    assert "1 tasks done" in work()

    result.refresh()
    assert result.status == TaskResultStatus.SUCCESSFUL
    assert result.return_value == 3
    assert result.attempts == 1
    assert result.enqueued_at <= result.started_at <= result.finished_at
    assert tasks.add.get_result(result.id).return_value == 3


async def test_aenqueue_and_async_tasks(server: EmbeddedServer) -> None:
    result = await tasks.double.aenqueue(21)
    await asyncio.to_thread(work)

    assert (await tasks.double.aget_result(result.id)).return_value == 42


def test_queues_and_priorities(server: EmbeddedServer) -> None:
    mail = tasks.send.enqueue("ann")
    low = tasks.add.using(priority=-1).enqueue(1)
    high = tasks.add.using(priority=1).enqueue(2)
    with geartrain.AdminClient(server.address) as admin:
        rows = {row.function: (row.high, row.normal, row.low) for row in admin.priority_status()}
    assert rows == {"shop.django.mail": (1, 0, 0), "shop.django.default": (1, 0, 1)}

    work(queues=["default"], max_jobs=1)
    high.refresh()
    low.refresh()
    assert (high.is_finished, low.is_finished) == (True, False)
    work(queues=["mail"])
    mail.refresh()
    assert mail.return_value == "sent to ann"


def test_run_after_waits_at_the_server(server: EmbeddedServer) -> None:
    result = tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)

    work()
    result.refresh()
    assert result.status == TaskResultStatus.READY
    server.advance(3601)
    work()

    result.refresh()
    assert result.return_value == 2


def test_a_failed_task_keeps_its_traceback(server: EmbeddedServer) -> None:
    result = tasks.fail.enqueue("lost")

    work()

    result.refresh()
    assert result.status == TaskResultStatus.FAILED
    assert result.errors[0].exception_class is KeyError
    assert "raise KeyError(text)" in result.errors[0].traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


def test_a_task_may_take_its_context(server: EmbeddedServer) -> None:
    result = tasks.attempt.enqueue("word")

    work()

    result.refresh()
    assert result.return_value == [1, result.id, "word"]


def test_djangos_signals_are_sent(server: EmbeddedServer) -> None:
    story: list[tuple[str, str]] = []

    def note(signal: Any, task_result: Any, **rest: Any) -> None:
        story.append((names[signal], str(task_result.status)))

    names = {task_enqueued: "enqueued", task_started: "started", task_finished: "finished"}
    for signal in names:
        signal.connect(note)
    try:
        tasks.add.enqueue(1)
        work()
    finally:
        for signal in names:
            signal.disconnect(note)

    assert story == [("enqueued", "READY"), ("started", "RUNNING"), ("finished", "SUCCESSFUL")]


def test_without_a_cache_there_are_no_results(server: EmbeddedServer) -> None:
    result = tasks.mute.enqueue()
    assert not task_backends["mute"].supports_get_result

    assert "1 tasks done" in work(backend="mute")
    with pytest.raises(NotImplementedError):
        result.refresh()


def test_what_cannot_be_is_refused(server: EmbeddedServer) -> None:
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result("nothing")
    with pytest.raises(InvalidTask, match="Queue 'other'"):
        tasks.add.using(queue_name="other").enqueue(1)
    with pytest.raises(CommandError, match="no GearmanBackend"):
        work(backend="now")
    with pytest.raises(CommandError, match="no queue 'other'"):
        work(queues=["other"])


def test_no_server_is_an_error_at_enqueue_and_leaves_no_result() -> None:
    before = set(Path(_CACHE).iterdir())

    with at("127.0.0.1:1"), pytest.raises(geartrain.ServerUnavailable):
        tasks.add.enqueue(1)

    assert set(Path(_CACHE).iterdir()) == before


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        (b"{", "JSONDecodeError"),
        (json.dumps({"id": "x", "task": "tests.django_project.tasks.not_a_task"}), "is no task"),
        (json.dumps({"id": "x", "task": "os.system", "args": ["true"]}), "is no task"),
        (json.dumps({"id": "x", "task": "no.such.module"}), "ModuleNotFoundError"),
    ],
)
def test_only_tasks_can_be_called(server: EmbeddedServer, workload: Any, reason: str) -> None:
    with geartrain.Client(server.address) as client:
        task = client.submit("shop.django.default", workload)
        work()

        with pytest.raises(geartrain.JobException, match=reason):
            task.result(10)


def test_processes_share_the_tasks(server: EmbeddedServer) -> None:
    results = [tasks.add.enqueue(n) for n in range(6)]

    assert "6 tasks done" in work(processes=2)

    for n, result in enumerate(results):
        result.refresh()
        assert result.return_value == n + 1
