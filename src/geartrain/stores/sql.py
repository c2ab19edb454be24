"""What the SQL stores share: migrations, and the columns that are not told as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from geartrain.stores.port import StoredJob

_NONE: Mapping[str, str] = {}


class Migration(NamedTuple):
    """One step from a stored format to the next."""

    number: int
    name: str
    script: str


def migrations(engine: str) -> list[Migration]:
    """All steps of an engine, ``schema/<engine>/NNNN_name.sql``, in order."""
    found = []
    for path in files("geartrain.stores").joinpath("schema", engine).iterdir():
        if path.name.endswith(".sql"):
            number, _, name = path.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, path.read_text()))
    found.sort()
    assert [step.number for step in found] == list(range(1, len(found) + 1)), "a step is missing"
    return found


def shown_of(job: StoredJob) -> bytes | None:
    """The unique as workers see it, where the key does not say it already."""
    return None if job.unique == (job.key or b"") else job.unique


def unique_of(key: bytes | None, shown: bytes | None) -> bytes:
    """The reverse of ``shown_of``."""
    return (key or b"") if shown is None else shown


def plain(text: str) -> str:
    """A text that every database takes: what UTF-8 cannot say, and NUL, is spelled out."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def headers_text(headers: Mapping[str, str]) -> str | None:
    """Headers as a column."""
    return json.dumps(dict(headers)) if headers else None


def headers_of(text: str | None) -> Mapping[str, str]:
    """The reverse of ``headers_text``."""
    if text is None:
        return _NONE
    headers: dict[str, str] = json.loads(text)
    return headers
