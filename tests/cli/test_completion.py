"""The shells complete the tools' options and words; a shell that is not here is left out."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import patient

TOOLS = ("gearman", "gearadmin", "gearman-worker", "gearmand")


def output(shell: str, script: str, home: Path) -> str:
    """What a shell prints that has read nothing of its user's."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = subprocess.run(
        [shell, "-c", script], cwd=home, capture_output=True, text=True, timeout=patient(30),
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(home), "TERM": "dumb"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fish(root: Path, tmp_path: Path, line: str) -> set[str]:
    """What fish offers behind a line, without its explanations."""
    tool = line.split(maxsplit=1)[0]
    script = f"source {root}/completion/fish/{tool}.fish; complete -C '{line}'"
    return {one.split("\t")[0] for one in output("fish", script, tmp_path).splitlines()}


def bash(root: Path, tmp_path: Path, line: str) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    said = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {root}/completion/bash/{words[0]}; COMP_WORDS=({said}); "
        f'COMP_CWORD={len(words) - 1}; _{words[0]}; echo "${{COMPREPLY[@]}}"'
    )
    return set(output("bash", script, tmp_path).split())


@pytest.mark.parametrize("tool", TOOLS)
def test_fish_can_read_every_file(root: Path, tmp_path: Path, tool: str) -> None:
    assert output("fish", f"source {root}/completion/fish/{tool}.fish", tmp_path) == ""


def test_fish_completes_commands_and_their_words(root: Path, tmp_path: Path) -> None:
    assert fish(root, tmp_path, "gearadmin ") == {"import", "job", "why", "dead"}
    assert fish(root, tmp_path, "gearadmin dead ") == {"list", "show", "retry", "delete", "export"}
    assert fish(root, tmp_path, "gearadmin job list ") == set()
    assert fish(root, tmp_path, "gearadmin why ") == set()


def test_fish_completes_options(root: Path, tmp_path: Path) -> None:
    assert {"--function", "--json", "--watch"} <= fish(root, tmp_path, "gearadmin --")
    assert "--max-memory" in fish(root, tmp_path, "gearmand --max-m")


def test_fish_completes_files_where_an_option_takes_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "jobs.log").touch()
    (tmp_path / "spool").mkdir()

    assert "jobs.log" in fish(root, tmp_path, "gearman --joblog j")
    assert fish(root, tmp_path, "gearman --spool s") == {"spool/"}
    assert fish(root, tmp_path, "gearmand --port j") == set()
    assert "jobs.log" in fish(root, tmp_path, "gearadmin import j")


@pytest.mark.parametrize("tool", TOOLS)
def test_bash_and_zsh_can_read_every_file(root: Path, tmp_path: Path, tool: str) -> None:
    assert output("bash", f"source {root}/completion/bash/{tool}", tmp_path) == ""
    assert output("zsh", f"zsh -n {root}/completion/zsh/_{tool}", tmp_path) == ""


def test_bash_completes_commands_and_their_words(root: Path, tmp_path: Path) -> None:
    assert bash(root, tmp_path, "gearadmin ") == {"import", "job", "why", "dead"}
    assert bash(root, tmp_path, "gearadmin job ") == {"list", "show", "cancel"}
    assert "--function" in bash(root, tmp_path, "gearadmin --fu")
