"""A store is found by the scheme of its URL, or the text says what to do."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from geartrain.stores import registry
from geartrain.stores.memory import MemoryStore
from geartrain.stores.port import StoreRefused
from geartrain.stores.url import StoreUrl


def test_ours_are_found() -> None:
    assert isinstance(registry.from_url("ram://"), MemoryStore)


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(StoreRefused, match=r"no store for mysql://; there are memory, postgres,"):
        registry.from_url("mysql://db/gear")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [n for n in sys.modules if n.startswith("geartrain.stores.postgres")]:
        monkeypatch.delitem(sys.modules, name)

    with pytest.raises(StoreRefused, match=r"pip install 'geartrain\[postgres\]'"):
        registry.from_url("postgresql://db/gear")


def test_other_peoples_stores_are_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mine", "geartrain.stores.memory:from_url", registry.GROUP)])
    monkeypatch.setattr(registry, "_theirs", lambda: points)

    assert isinstance(registry.from_url("mine://"), MemoryStore)
    assert "mine" in registry.schemes()


def test_an_entry_point_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("mine", "no_such_package:store", registry.GROUP)])
    monkeypatch.setattr(registry, "_theirs", lambda: points)

    with pytest.raises(StoreRefused, match="mine:// is offered by no_such_package:store"):
        registry.from_url("mine://")


@pytest.mark.parametrize("text", ["jobs.db", "sqlite:jobs.db", "", "://"])
def test_what_is_no_url_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(StoreRefused, match="sqlite:///var"):
        registry.from_url(text)


def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(StoreRefused, match="unknown option 'fsink' in ram://"):
        registry.from_url("ram://?fsink=no")


def test_a_password_is_not_shown() -> None:
    url = StoreUrl.parse("postgresql://gt:secret@db/gear?password=hidden&a=1")

    assert "secret" not in url.text
    assert "hidden" not in url.text
    assert url.netloc == "gt:secret@db"


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("10s", 10), ("500ms", 0.5), ("2m", 120), ("1.5", 1.5)]
)
def test_times_have_units(text: str, seconds: float) -> None:
    assert StoreUrl.parse(f"x://?t={text}").seconds("t", 1) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "0", "10y"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(StoreRefused, match="want a time"):
        StoreUrl.parse(f"x://?t={text}").seconds("t", 1)


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("64M", 64 << 20), ("1G", 1 << 30), ("2KiB", 2048)]
)
def test_sizes_have_units(text: str, size: int) -> None:
    assert StoreUrl.parse(f"x://?n={text}").size("n", 1) == size


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(StoreRefused, match="want a size"):
        StoreUrl.parse("x://?n=big").size("n", 1)


@pytest.mark.parametrize(("text", "flag"), [("?f", True), ("?f=no", False), ("", False)])
def test_flags(text: str, flag: bool) -> None:
    assert StoreUrl.parse(f"x://{text}").flag("f") is flag


def test_what_is_no_flag_is_refused() -> None:
    with pytest.raises(StoreRefused, match="want yes or no"):
        StoreUrl.parse("x://?f=maybe").flag("f")
