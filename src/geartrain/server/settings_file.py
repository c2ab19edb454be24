"""The TOML file of ``gearmand``, in the words of the table of settings."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from geartrain.errors import ConfigurationError
from geartrain.server.settings import FIELDS, option_name, read_value


def read_toml(path: str) -> dict[str, object]:
    """Fields set by a TOML file: ``[limits]`` ``max-packet-bytes = "64MiB"`` and so on.

    Raises:
        ConfigurationError: the file cannot be read, or something in it is unknown or wrong.
    """
    try:
        tree = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # TOMLDecodeError, UnicodeDecodeError, a number of 5,000 digits, a thousand brackets.
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
    known: dict[str, dict[str, str]] = {}
    for name, one in FIELDS.items():
        meta = one.metadata
        known.setdefault(meta["table"], {})[meta["key"] or option_name(name)] = name
    found: dict[str, object] = {}
    functions = tree.pop("function", {})
    for table, content in tree.items():
        if table not in known:
            raise ConfigurationError(
                f"{path}: unknown table [{table}]; known are " + ", ".join(f"[{t}]" for t in known)
            )
        if not isinstance(content, dict):
            raise ConfigurationError(f"{path}: {table} must be a table: [{table}]")
        for key, value in content.items():
            source = f"{path}: {table}.{key}"
            name = known[table].get(key.replace("_", "-"), "")
            if not name:
                raise ConfigurationError(
                    f"{source} is unknown; [{table}] has " + ", ".join(sorted(known[table]))
                )
            found[name] = read_value(name, value, source)
    said = _functions(path, functions)
    if said:
        earlier = found.get("policy", ())
        assert isinstance(earlier, tuple)
        found["policy"] = (*earlier, *said)
    return found


def _functions(path: str, tables: object) -> list[str]:
    """``[function."NAME"]`` in the words of ``--policy``; see ``function_policies``."""
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise ConfigurationError(f'{path}: function must be tables: [function."resize"]')
    return [_words_of(name, table) for name, table in tables.items()]


def _words_of(name: str, table: Mapping[str, object]) -> str:
    words = [json.dumps(name) if any(ch.isspace() or ch == '"' for ch in name) else name]
    for key, value in table.items():
        if isinstance(value, (list, tuple)):
            text = ",".join(str(one) for one in value)
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
        words.append(f"{key}={''.join(text.split())}")
    return " ".join(words)
