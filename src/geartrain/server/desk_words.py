"""How questions are read at the desk, and how answers are written: words, and lines of JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from fnmatch import fnmatchcase
from urllib.parse import unquote_to_bytes

from geartrain.frontends.port import Question
from geartrain.stores.ids import id_of
from geartrain.stores.port import DeadJob
from geartrain.terms import PRIORITY_NAMES

Object = dict[str, object]


class BadQuestion(Exception):
    """The question makes no sense; the text is the answer."""


# ── questions ────────────────────────────────────────────────────────────────

#: What may stand before ``=`` in a word.
_KEYS = (b"function", b"after", b"state")


def arguments(question: Question) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The words that are no ``key=value``, and those that are."""
    words: list[bytes] = []
    named: dict[bytes, bytes] = {}
    for word in question.words:
        key, equals, value = word.partition(b"=")
        if equals and key in _KEYS:
            named[key] = unquote_to_bytes(value)
        else:
            words.append(unquote_to_bytes(word))
    return words, named


def filters(question: Question, *keys: str) -> dict[bytes, bytes]:
    """What a list is narrowed down to; a list that begins ``after`` a job has its cursor set.

    Raises:
        BadQuestion: something else was said.
    """
    words, named = arguments(question)
    if words or any(key.decode() not in keys for key in named):
        known = {"function": "NAME", "after": "HANDLE", "state": "STATE"}
        text = " ".join(f"[{key}={known[key]}]" for key in keys)
        raise BadQuestion(f"INVALID_ARGUMENTS {question.verb.decode()} {text}")
    if b"after" in named and not question.cursor:
        after = id_of(named[b"after"])
        if after is None:
            raise BadQuestion("INVALID_ARGUMENTS after= wants a job's handle")
        question.cursor = after
    return named


class Wanted:
    """The functions that a list is narrowed down to: all, one, or those that a pattern matches.

    A pattern is a shell's: ``*``, ``?`` and ``[...]``, where ``?`` is one letter and not
    one byte. What is meant as it stands goes in brackets: ``[*]``. A name that is the
    pattern, letter by letter, matches as well.

    Attributes:
        name: the one function, for the store to look for; None: of each row ``has`` is asked.
        is_pattern: ``has`` may say no.
    """

    def __init__(self, text: bytes | None) -> None:
        self.is_pattern = text is not None and any(letter in text for letter in b"*?[")
        self.name = None if self.is_pattern else text
        self._text = text
        # A million rows are of few functions.
        self._known: dict[bytes, bool] = {}

    def has(self, function: bytes) -> bool:
        """Whether this one is meant."""
        known = self._known.get(function)
        if known is None:
            known = self._known[function] = self._match(function)
        return known

    def _match(self, function: bytes) -> bool:
        text = self._text
        if text is None or function == text:
            return True
        return self.is_pattern and fnmatchcase(text_of(function), text_of(text))


def handle_in(question: Question) -> bytes:
    """The one word that was said.

    Raises:
        BadQuestion: something else was said.
    """
    words, named = arguments(question)
    if len(words) != 1 or named:
        raise BadQuestion(f"INVALID_ARGUMENTS {question.verb.decode()} HANDLE")
    return words[0]


# ── answers ──────────────────────────────────────────────────────────────────


def line(found: Object) -> bytes:
    """One object, on a line of ASCII."""
    return json.dumps(found).encode() + b"\n"


def text_of(data: bytes) -> str:
    """Any bytes as a text that gives them back."""
    return data.decode("utf-8", "surrogateescape")


def with_body(found: Object, body: bytes) -> Object:
    """The object, with a workload: as text, or in base64 where it is none."""
    try:
        found["body"] = body.decode("utf-8")
    except UnicodeDecodeError:
        found["body_base64"] = b64encode(body).decode()
    return found


def dead_object(handle: bytes, dead: DeadJob, submitted: float) -> Object:
    """A job that was given up."""
    job = dead.job
    found: Object = {
        "handle": text_of(handle),
        "function": text_of(job.queue.function),
        "unique": text_of(job.unique),
        "priority": PRIORITY_NAMES[job.queue.priority],
        "size": dead.size,
        "attempts": job.attempts,
        "reason": dead.reason,
        "worker": dead.worker,
        "submitted": round(submitted, 3),
        "died": round(dead.died, 3),
    }
    if job.reducer:
        found["reducer"] = text_of(job.reducer)
    return found if job.body is None else with_body(found, job.body)
