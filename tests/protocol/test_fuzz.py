"""Every target of ``fuzz``, for a short while; ``make fuzz`` does it for long."""

from __future__ import annotations

import pytest

from fuzz import targets
from fuzz.__main__ import main
from fuzz.play import fault, play
from fuzz.target import TARGETS, Target
from tests.support import budget

assert targets.__name__ == "fuzz.targets"


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_noise_is_read_or_refused(name: str, seconds: float) -> None:
    assert play(TARGETS[name], seconds / len(TARGETS), seed=int(budget())) > 0


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_are_read(name: str) -> None:
    for data in TARGETS[name].seeds:
        assert fault(TARGETS[name], data) is None


def test_find_is_made_small_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    def read(data: bytes) -> None:
        assert b"x" not in data

    TARGETS["broken"] = Target("broken", "nothing with an x", read, (), (b"abcxdef",), ())
    try:
        status = main(["broken", "--seconds", "1"])
    finally:
        del TARGETS["broken"]

    said = capsys.readouterr().err
    assert status == 1
    assert "broken: AssertionError" in said
    assert "input: b'x'\n" in said
    assert "again: python -m fuzz broken --input" in said


def test_help_names_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(f"  {name} " in said for name in TARGETS)


def test_unknown_target_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-reader"])

    assert "no target 'no-such-reader'; there are reader, " in capsys.readouterr().err
