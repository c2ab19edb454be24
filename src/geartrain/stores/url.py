"""Store URLs: ``scheme://user@host/path?option=value``, taken apart and checked by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from geartrain.stores.port import StoreRefused
from geartrain.units import SIZES, TIMES, with_unit

_TRUE = {"1", "yes", "true", "on", ""}
_FALSE = {"0", "no", "false", "off"}


class StoreUrl(NamedTuple):
    """One URL, in its parts."""

    #: As it was given, but for a password.
    text: str
    scheme: str
    netloc: str
    path: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> StoreUrl:
        """Take ``text`` apart.

        Raises:
            StoreRefused: it has no scheme, or an option twice.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise StoreRefused(f"{text!r} is no store URL: {error}") from None
        if not parts.scheme or "://" not in text:
            raise StoreRefused(
                f"{text!r} is no store URL; for example sqlite:///var/lib/geartrain/jobs.db"
            )
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        options = dict(pairs)
        if len(options) != len(pairs):
            raise StoreRefused(f"{parts.scheme}:// has an option twice: {parts.query}")
        user, at, host = parts.netloc.rpartition("@")
        shown = f"{user.split(':')[0]}{':***' if ':' in user else ''}{at}{host}"
        redacted = urlunsplit((parts.scheme, shown, parts.path, _hide(parts.query), ""))
        if not shown and "://" not in redacted:
            redacted = text
        return cls(redacted, parts.scheme, parts.netloc, unquote(parts.path), options)

    def only(self, *names: str) -> None:
        """Refuse options with other names.

        Raises:
            StoreRefused: naming the first, and what there is.
        """
        for name in self.options:
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                raise StoreRefused(f"unknown option {name!r} in {self.text}; it takes: {known}")

    def seconds(self, name: str, default: float) -> float:
        """``10s``, ``500ms``, ``2m`` or a bare number of seconds; see ``units``."""
        text = self.options.get(name)
        if text is None:
            return default
        value = with_unit(text, TIMES)
        if value is not None and 0 < value < 1e9:
            return value
        raise StoreRefused(f"{name}={text} in {self.text}: want a time such as 10s or 500ms")

    def size(self, name: str, default: int) -> int:
        """``64M``, ``1G`` or a bare number of bytes."""
        text = self.options.get(name)
        if text is None:
            return default
        value = with_unit(text, SIZES)
        if value is None:
            raise StoreRefused(f"{name}={text} in {self.text}: want a size such as 64M")
        return int(value)

    def flag(self, name: str, default: bool = False) -> bool:
        """``yes`` or ``no``; the bare name is yes."""
        text = self.options.get(name)
        if text is None:
            return default
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise StoreRefused(f"{name}={text} in {self.text}: want yes or no")


def _hide(query: str) -> str:
    return "&".join(
        "password=***" if part.startswith("password=") else part for part in query.split("&")
    )
