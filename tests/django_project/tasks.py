"""Tasks."""

from typing import Any

from geartrain.django.tasks import TaskContext, task


@task
def add(a: int, b: int = 1) -> int:
    return a + b


@task(queue_name="mail", priority=10)
def send(to: str) -> str:
    return f"sent to {to}"


@task
async def double(n: int) -> int:
    return 2 * n


@task(takes_context=True)
def attempt(context: TaskContext, word: str) -> list[Any]:
    return [context.attempt, context.task_result.id, word]


@task
def fail(text: str) -> None:
    raise KeyError(text)


@task(backend="mute")
def mute() -> None:
    pass


def not_a_task() -> None:
    raise AssertionError("was called")
