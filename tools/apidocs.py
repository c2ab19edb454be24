"""Writes docs/reference/api: what users may call, from the docstrings.

    python tools/apidocs.py [--check]

griffe reads signatures and docstrings out of the source, without importing it; what is
here chooses the pages, and makes Markdown of what it has read. With ``--check`` nothing
is written, and pages that are not up to date are named.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import griffe

ROOT: Final = Path(__file__).resolve().parent.parent
HOME: Final = ROOT / "docs" / "reference" / "api"


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        name: of the file, without its ending.
        lead: what it is about.
        things: paths below ``geartrain``, in their order.
    """

    name: str
    title: str
    lead: str
    things: tuple[str, ...]


PAGES: Final = (
    Page(
        "client", "Clients",
        "Bytes in, bytes out, to functions in any language. How to use them: [tutorial](../../tutorial.md).",
        ("client.sync.Client", "client.waiting.Task", "client.task.TaskState", "client.waiting.TaskSet",
         "client.remote.RemoteFunction", "client.aio.AsyncClient", "client.aio_waiting.AsyncTask",
         "client.aio_waiting.AsyncTaskSet", "client.remote.AsyncRemoteFunction",
         "client.options.SubmitOptions", "client.options.BackgroundOptions",
         "client.options.Priority", "retry.Retry", "client.handle.Handle",
         "client.status.JobStatus", "transport.tls.TLS"),
    ),
    Page(
        "events", "Events",
        "What happens to a task: `task.events()` and `client.events(tasks)` give them.",
        ("client.events.JobCreated", "client.events.WorkData", "client.events.WorkWarning",
         "client.events.WorkStatus", "client.events.WorkComplete", "client.events.WorkFail",
         "client.events.WorkException"),
    ),
    Page(
        "worker", "Workers",
        "They do jobs; [`gearman-worker`](../../howto/workers.md) runs them in processes.",
        ("worker.sync.Worker", "worker.aio.AsyncWorker", "worker.job.Job", "worker.job.Status",
         "worker.job.current_job"),
    ),
    Page(
        "app", "Functions with signatures",
        "Declared once, done by workers, called with checked arguments: [tutorial](../../tutorial.md#7-functions-with-signatures).",
        ("typed.app.App", "typed.function.Function", "typed.aio.AsyncFunction",
         "typed.options.AllOptions"),
    ),
    Page(
        "admin", "Administration",
        "What `gearadmin` asks, for programs; each client asks one server.",
        ("client.admin.AdminClient", "client.aio_admin.AsyncAdminClient",
         "client.answers.FunctionStatus", "client.answers.PriorityStatus",
         "client.answers.WorkerInfo", "client.answers.JobInfo"),
    ),
    Page(
        "errors", "Errors",
        "All that geartrain raises, from `geartrain.errors`. Which of them are safe to answer with another attempt: "
        "[Retries](../../howto/retries.md#which-errors-are-safe-to-answer-with-another-attempt).",
        ("errors",),
    ),
    Page(
        "codecs", "Codecs",
        "Values to bytes and back, from `geartrain.codecs`: by name, or as an object.",
        ("codecs.Codec", "codecs.BytesCodec", "codecs.TextCodec", "codecs.JsonCodec",
         "codecs.MsgpackCodec", "codecs.Pickle", "codecs.Signed", "codecs.Compressed"),
    ),
    Page(
        "executor", "Executor",
        "Any function, at any worker: the distributed fork. `geartrain.executor`.",
        ("executor.futures.GearmanExecutor", "executor.futures.GearmanFuture", "executor.answering.Calls"),
    ),
    Page(
        "progress", "Progress",
        "How far many tasks are, from `geartrain.progress`: [Progress](../../howto/progress.md).",
        ("progress.track", "progress.Meter"),
    ),
    Page(
        "testing", "Testing",
        "A server in your tests, from `geartrain.testing`, and pytest fixtures: [Testing](../../howto/testing.md).",
        ("testing.server.EmbeddedServer", "testing.fixtures"),
    ),
    Page(
        "django", "Django",
        "A backend for Django's tasks: [Django](../../howto/django.md).",
        ("django.backend.GearmanBackend",),
    ),
    Page(
        "compat", "The names of python-gearman",
        "`import geartrain.compat as gearman`: [From python-gearman](../../howto/migrate-python-gearman.md).",
        ("compat.client.GearmanClient", "compat.worker.GearmanWorker",
         "compat.admin.GearmanAdminClient", "compat.job.GearmanJob",
         "compat.job.GearmanJobRequest", "compat.encoder.DataEncoder"),
    ),
)  # fmt: skip

#: Public in the code, for layers above; not for users.
HIDDEN: Final = frozenset(
    [
        "Task.apply",
        "Task.fail",
        "Task.restart",
        "Task.take_events",
        "Task.tell",
        "Task.outcome",
        "Task.handle_bytes",
        "Task.handle_text",
        "Client.submit_decoded",
        "Worker.in_child",
        "Worker.grace",
        "Worker.is_stopping",
        "Worker.is_stopping_now",
        "Job.speak_through",
        "Job.end_with",
        "App.enter",
        "App.layers",
        "App.root",
        "App.prefix",
        "Function.declaration",
    ]
)
#: Users get them from others: how they are made does not concern them.
GIVEN: Final = frozenset(
    [
        "Task",
        "AsyncTask",
        "TaskSet",
        "AsyncTaskSet",
        "RemoteFunction",
        "AsyncRemoteFunction",
        "Job",
        "Function",
        "AsyncFunction",
        "JsonCodec",
        "MsgpackCodec",
        "JobFinished",
    ]
)
#: What users need not know of.
INNER_BASES: Final = "^(_|Base|Generic|Protocol|TypedDict|Exception$|Value$)"
#: Of Python's protocols, those that users call without writing them.
SPOKEN: Final = {"__call__": "{0}(...)", "__iter__": "iter({0})", "__len__": "len({0})"}

HEAD: Final = "<!-- Made by tools/apidocs.py from the docstrings; edit those. -->\n\n"


def load() -> Any:
    """The package, as it is in src/."""
    return griffe.load(
        "geartrain",
        search_paths=[ROOT / "src"],
        docstring_parser="google",
        docstring_options={"returns_multiple_items": False},
        allow_inspection=False,
    )


def pages() -> Iterator[tuple[Path, str]]:
    """Every page: where, and what is in it."""
    package = load()
    rows = []
    for page in PAGES:
        yield HOME / f"{page.name}.md", _page(package, page)
        names = [f"`{path.rpartition('.')[2]}`" for path in page.things if path[0].islower()]
        rows.append(f"| [{page.title}]({page.name}.md) | {', '.join(names)} |\n")
    yield (
        HOME / "index.md",
        f"{HEAD}# API reference\n\nWhat users may call. Nearly all of it is in `geartrain` itself; "
        f"other modules are named.\n\n| | |\n|---|---|\n{''.join(rows)}",
    )


def _page(package: Any, page: Page) -> str:
    parts = [f"{HEAD}# {page.title}\n", page.lead + "\n"]
    for path in page.things:
        thing = package[path]
        if thing.is_module:
            parts += [f"## {thing.name.capitalize()}\n"] if len(page.things) > 1 else []
            parts += _module(thing)
        elif thing.is_class:
            parts += _class(thing)
        else:
            parts += _function(thing, "", "## ")
    return "\n".join(parts)


def _module(module: Any) -> Iterator[str]:
    # The head of errors.py draws their tree.
    yield from _sections(module)
    for member in module.members.values():
        if member.name.startswith("_") or member.is_alias or not member.has_docstring:
            continue
        if member.is_class:
            yield from _class(member)
        elif member.is_function:
            yield from _function(member, "", "## ")


def _class(kind: Any) -> Iterator[str]:
    bases = [str(base) for base in kind.bases]
    yield f"## {kind.name}\n"
    init = _find(kind, "__init__")
    if init is not None and kind.name not in GIVEN and bases != ["Protocol"]:
        yield _code(_signature(init, kind.name, returns=False))
    yield from _sections(kind)
    shown = [base for base in bases if not re.search(INNER_BASES, base)]
    if shown:
        yield f"It is {' and '.join(f'{_article(base)} `{base}`' for base in shown)}.\n"
    if "TypedDict" in bases:
        yield _options(kind)
    if "Enum" in bases[0:1] or "IntEnum" in bases:
        yield _values(kind)
    for base in _ours(kind)[1:]:
        if base.docstring:
            yield from _sections(base, only=("attributes",))
    for member in _members(kind):
        yield from _function(member, kind.name, "### ")


def _members(kind: Any) -> Iterator[Any]:
    """What is documented and public, of the class and of those above it."""
    seen = set()
    for owner in _ours(kind):
        for name, member in owner.members.items():
            if name in seen or member.is_alias or not member.has_docstring:
                continue
            seen.add(name)
            plain = f"{kind.name.removeprefix('Async')}.{name}"
            if (name.startswith("_") and name not in SPOKEN) or plain in HIDDEN:
                continue
            if member.is_function or "property" in member.labels:
                yield member


def _ours(kind: Any) -> list[Any]:
    return [kind, *(base for base in kind.mro() if base.path.startswith("geartrain."))]


def _find(kind: Any, name: str) -> Any:
    return next((k.members[name] for k in _ours(kind) if name in k.members), None)


def _function(member: Any, owner: str, mark: str) -> Iterator[str]:
    whole = f"{owner}.{member.name}" if owner else member.name
    if member.name in SPOKEN:
        whole = SPOKEN[member.name].format(owner.lower())
    yield f"{mark}{whole}\n"
    if member.is_function:
        for one in (member.overloads or [member])[-1:]:
            before = "async " if "async" in member.labels else ""
            yield _code(before + _signature(one, member.name))
    elif member.annotation is not None:
        yield _code(f"{member.name}: {member.annotation}")
    yield from _sections(member)


def _signature(function: Any, name: str, returns: bool = True) -> str:
    text = str(
        function.signature(name=name)
        if returns
        else function.signature(name=name, return_type=False)
    )
    if len(text) <= 96:
        return text
    # One argument a line, as the formatter would have it.
    head, _, rest = text.partition("(")
    inside, _, tail = rest.rpartition(")")
    lines = "".join(f"    {argument},\n" for argument in _split(inside))
    return f"{head}(\n{lines}){tail}"


def _split(text: str) -> list[str]:
    """Arguments, at the commas that are in no bracket."""
    found, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            found.append(text[start:at].strip())
            start = at + 1
    return [*found, text[start:].strip()]


def _code(text: str) -> str:
    return f"```text\n{text}\n```\n"


# ── docstrings ───────────────────────────────────────────────────────────────


def _sections(thing: Any, only: tuple[str, ...] = ()) -> Iterator[str]:
    if thing.docstring is None:
        return
    for section in thing.docstring.parsed:
        kind = section.kind.value
        if only and kind not in only:
            continue
        if kind == "text":
            yield _text(section.value)
        elif kind in ("parameters", "attributes"):
            title = "Arguments" if kind == "parameters" else "Attributes"
            rows = [f"- `{one.name}`: {_inline(one.description)}" for one in section.value]
            yield f"**{title}**\n\n" + "\n".join(rows) + "\n"
        elif kind == "raises":
            rows = [f"- {_names(one)}: {_inline(one.description)}" for one in section.value]
            yield "**Raises**\n\n" + "\n".join(rows) + "\n"
        elif kind in ("returns", "yields"):
            # griffe takes what stands before a colon (``False: no server knows it``) for a name.
            words = [
                f"{one.name}: {one.description}" if one.name else one.description
                for one in section.value
            ]
            yield f"**{kind.capitalize()}** {_inline('; '.join(words))}\n"
        elif kind == "admonition":
            yield f"**{section.title}** {_inline(section.value.contents)}\n"
        else:
            raise ValueError(f"{thing.path}: what is the section {kind!r}?")


def _names(one: Any) -> str:
    return ", ".join(f"`{name.strip()}`" for name in str(one.annotation).strip("()").split(","))


def _text(text: str) -> str:
    """reStructuredText as we use it (``x``, ``::`` and an indented block), as Markdown."""
    parts: list[str] = []
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.rstrip().endswith("::"):
            parts.append(_inline(line, join=False))
            continue
        if line.strip() != "::":
            parts += [_inline(line.rstrip()[:-1], join=False), ""]
        block = []
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" ")):
            block.append(lines[at])
            at += 1
        code = dedent("\n".join(block)).strip("\n")
        language = "python" if _is_python(code) else "text"
        parts += [f"```{language}", code, "```", ""]
    single = [part for n, part in enumerate(parts) if part or (n and parts[n - 1])]
    return "\n".join(single).strip() + "\n"


def _is_python(code: str) -> bool:
    try:
        compile(code, "docstring", "exec")
    except SyntaxError:
        return False
    return True


def _article(noun: str) -> str:
    return "an" if noun[0] in "AEIOU" else "a"


def _inline(text: str, join: bool = True) -> str:
    text = text.replace("``", "`")
    return " ".join(text.split()) if join else text.rstrip()


def _options(kind: Any) -> str:
    """A table of a TypedDict, whose fields are described by ``#:`` comments above them."""
    rows = []
    for member, said in _fields(kind):
        annotation = str(member.annotation).replace("|", "\\|")
        rows.append(f"| `{member.name}` | `{annotation}` | {said} |\n")
    return "| option | type | |\n|---|---|---|\n" + "".join(rows)


def _values(kind: Any) -> str:
    """The members of an enumeration."""
    return "".join(
        f"- `{kind.name}.{member.name}`{': ' if said else ''}{said}\n"
        for member, said in _fields(kind)
    )


def _fields(kind: Any) -> Iterator[tuple[Any, str]]:
    """Attributes of a class, each with the ``#:`` comment above it, or the one behind it."""
    lines = Path(kind.filepath).read_text().splitlines()
    for member in kind.members.values():
        if not member.is_attribute or "property" in member.labels:
            continue
        said: list[str] = []
        at = member.lineno - 2
        while lines[at].strip().startswith("#:"):
            said.insert(0, lines[at].strip()[2:].strip())
            at -= 1
        behind = lines[member.lineno - 1].partition("  # ")[2]
        yield member, _inline(" ".join(said) or behind)


# ── the command ──────────────────────────────────────────────────────────────


def stale() -> list[str]:
    """Pages that are not as the docstrings have them."""
    wanted = dict(pages())
    wrong = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    wrong += [path for path in HOME.glob("*.md") if path not in wanted]
    return sorted(str(path.relative_to(ROOT)) for path in wrong)


def main(arguments: list[str]) -> int:
    if arguments == ["--check"]:
        wrong = stale()
        print(*(f"{name} is not up to date: make apidocs" for name in wrong), sep="\n")
        return 1 if wrong else 0
    HOME.mkdir(parents=True, exist_ok=True)
    wanted = dict(pages())
    for path in HOME.glob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    print(f"{len(wanted)} pages in {HOME.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
