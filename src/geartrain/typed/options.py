"""Options of one call of a typed function."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict

from geartrain.client.options import PriorityLike, Seconds
from geartrain.retry import Retry

if TYPE_CHECKING:
    from geartrain.client.events import WorkStatus
    from geartrain.errors import GearmanError


class AllOptions(TypedDict, total=False):
    """What ``Function.options`` takes: the options of every verb, spelled as for ``Client``."""

    #: Key for coalescing; see ``SubmitOptions``.
    unique: str | bytes | None
    #: ``high``, ``normal`` or ``low``.
    priority: PriorityLike
    #: Seconds to wait for the result (or, in the background, for JOB_CREATED).
    timeout: Seconds | None
    #: Resubmit after JobLost, or a failure that the ``Retry`` lists.
    retry: Retry | int
    #: Background only. Not before: an aware datetime, a delay, or seconds since 1970.
    when: datetime | timedelta | int | None
    #: Foreground only, as are the callbacks: function that merges the results.
    reducer: str | None
    #: Yours; the task carries it.
    context: Any
    #: The callbacks: see ``SubmitOptions``.
    on_created: Callable[[Any], object] | None
    #: With a piece of the result, encoded.
    on_data: Callable[[Any, bytes], object] | None
    #: With a warning.
    on_warning: Callable[[Any, bytes], object] | None
    #: With a ``WorkStatus``.
    on_status: Callable[[Any, WorkStatus], object] | None
    #: When it has ended well.
    on_complete: Callable[[Any], object] | None
    #: With the error, when it has not.
    on_fail: Callable[[Any, GearmanError], object] | None


OPTION_NAMES: Final = frozenset(AllOptions.__annotations__)


def check_names(options: AllOptions) -> None:
    """Refuse what is no option, at the call that gave it.

    Raises:
        TypeError: with the name.
    """
    unknown = sorted(options.keys() - OPTION_NAMES)
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r}; there are {sorted(OPTION_NAMES)}")
