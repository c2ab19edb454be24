"""Settings from TOML and from text."""

from __future__ import annotations

from pathlib import Path

import pytest

from geartrain.cli.worker_options import read_arguments, read_settings
from geartrain.errors import ConfigurationError
from geartrain.manager.plan import FunctionPlan
from geartrain.manager.settings import Settings, read_toml, read_value


def settings(*words: str) -> Settings:
    return read_settings(read_arguments(words))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "worker.toml"


def test_a_file_says_what_the_command_line_says(file: Path) -> None:
    file.write_text(
        '[worker]\ntargets = ["shop"]\nservers = ["a", "b:4731"]\nprocesses = 8\n'
        "prefetch = 32\n"
        'max-memory = "512M"\nmax_lifetime = "2h"\nsplay = "20%"\nonly = ["f", "g"]\n'
        "[function.invoice]\nprocesses = 2\ndedicated = true\n[function.wc]\nprocesses = 3\n"
    )

    found = settings("--config", str(file), "-n", "4", "--name", "my shop")

    assert found.targets == ("shop",)
    assert found.servers == "a,b:4731"
    assert found.processes == 4
    assert found.prefetch == 32
    assert found.max_memory == 512 * 2**20
    assert found.max_lifetime == 7200
    assert found.splay == pytest.approx(0.2)
    assert found.only == ("f", "g")
    assert found.functions == {"invoice": FunctionPlan(2, True), "wc": FunctionPlan(3)}
    assert found.name == "my shop"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[workers]\n", r"unknown table \[workers\]"),
        ("[worker]\nproceses = 1\n", "worker.proceses is unknown; did you mean processes"),
        ("[worker]\nprocesses = -2\n", "worker.processes: -2 is not valid: want a whole number"),
        ('[worker]\ngrace = "soon"\n', "worker.grace: 'soon' is not valid: want a time"),
        ("[worker]\nthreads = 0\n", "worker.threads: 0 .* at least 1"),
        ("[worker]\nsplay = 1.5\n", "worker.splay: 1.5 is not valid: want a part"),
        ("[worker]\nreload = 1\n", "worker.reload: 1 is not valid: want true or false"),
        ('[worker]\nlog-level = "loud"\n', "want one of debug, info"),
        ("[function]\nwc = 3\n", r"function.wc must be a table: \[function.wc\]"),
        ("[function.wc]\nprocess = 3\n", "function.wc.process is unknown; did you mean processes"),
        ("[function.wc]\nprocesses = 0\n", "function.wc.processes: 0 is not valid"),
        ("[function.wc]\ndedicated = 1\n", "function.wc.dedicated: 1 is not valid"),
        ("[worker\n", "is not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(file: Path, text: str, complaint: str) -> None:
    file.write_text(text)

    with pytest.raises(ConfigurationError, match=complaint) as caught:
        read_toml(str(file))

    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("max_memory", "64k", 65536), ("max_memory", "1GiB", 2**30), ("max_memory", "10b", 10),
        ("grace", "500ms", 0.5), ("grace", "1.5m", 90.0), ("grace", "90", 90.0),
        ("only", ["a,b", "c"], ("a", "b", "c")), ("dir", ["a,b"], ("a,b",)),
        ("log_level", "INFO", "info"),
    ],
)  # fmt: skip
def test_values_are_read_with_their_units(name: str, text: object, value: object) -> None:
    assert read_value(name, text, "here") == value


def test_a_missing_target_is_an_error_that_shows_one() -> None:
    with pytest.raises(ConfigurationError, match="images:app"):
        settings("-n", "2")


def test_the_name_is_that_of_the_first_target_or_directory(tmp_path: Path) -> None:
    assert settings("images:app", "shop").name == "images:app"
    assert settings("--dir", str(tmp_path)).name == tmp_path.name
