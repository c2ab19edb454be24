"""What every test has: a few fixtures, each a noun, and the settings of hypothesis.

Which build is under test is decided by the path alone: as it is, the installed
package (compiled, after ``make setup``); with ``PYTHONPATH=src``, the plain
files. The first lines of a run say which.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import geartrain
from geartrain import _build
from tests.support import PATIENCE, budget, patient

# A test's own time limit is stretched like all others; this is the plug-in's name for
# what the configuration says, and stronger.
os.environ.setdefault("PYTEST_TIMEOUT", f"{patient(60):g}")

# A shell has what it starts in the background ignore ^C, and so would all programs that
# tests start: some are ended that way.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Deadlines say nothing on a shared machine: the test's own time limit does.
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# What has been tried in full is tried once more, with another build or Python: as it
# always begins the same, these are the first of those.
settings.register_profile("again", settings.get_profile("ci"), max_examples=25)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("long", deadline=None, max_examples=5_000)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)


def pytest_report_header() -> list[str]:
    home = Path(geartrain.__file__).parent
    return [
        f"geartrain {geartrain.__version__} ({_build.describe()}) from {home}",
        f"patience: {PATIENCE:g} times",
    ]


#: Seconds that a test takes, roughly, for whoever has to share them out.
ORDINARY, SLOW = 0.1, 5.0


def _weight(item: pytest.Item) -> float:
    if item.get_closest_marker("soak") or item.get_closest_marker("chaos"):
        return budget()
    return SLOW if item.get_closest_marker("slow") else ORDINARY


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the files (``--no-loadscope-reorder``), the longest come first.

    Else one process is left with a long one, and the others have nothing to do.
    """
    if not hasattr(config, "workerinput"):
        return
    weights: dict[Path, float] = defaultdict(float)
    for item in items:
        weights[item.path] += _weight(item)
    items.sort(key=lambda item: -weights[item.path])


@pytest.fixture
def seconds() -> float:
    """How long a soak, chaos or fuzz test may go on: GEARTRAIN_SECONDS, or 10."""
    return budget()


@pytest.fixture
def root() -> Path:
    """The repository."""
    return Path(__file__).resolve().parent.parent
