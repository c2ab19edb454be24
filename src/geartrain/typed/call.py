"""Call: a declared function with options, and what becomes of its arguments.

What ``Function`` and ``AsyncFunction`` share; they add the waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from geartrain.typed.declaration import Declaration
from geartrain.typed.options import AllOptions, check_names

if TYPE_CHECKING:
    from geartrain.client.aio import AsyncClient
    from geartrain.client.sync import Client
    from geartrain.worker.job import Job


#: Takes a job and the rest of the chain; returns what the function has returned.
Middleware: TypeAlias = "Callable[[Job, Callable[[Job], Any]], Any]"


class Home(Protocol):
    """An app, as its functions see it."""

    @property
    def prefix(self) -> str:
        """What stands before the names of its functions."""

    @property
    def namespace(self) -> str:
        """What stands before all names on the wire."""

    @property
    def functions(self) -> Mapping[str, Any]:
        """Everything that can be done here, by name."""

    @property
    def layers(self) -> list[Middleware]:
        """The middleware around its functions, outermost first."""

    @property
    def client(self) -> Client:
        """Asks for work."""

    @property
    def aio_client(self) -> AsyncClient:
        """Asks for work from the running event loop."""

    def enter(self, job: Job) -> None:
        """Enter the lifespans; give the job its context."""


class Call:
    """One function, to be called with certain options.

    Attributes:
        home: its app.
        declaration: what it is.
        options: given by ``Function.options``.
    """

    __slots__ = ("declaration", "home", "options")

    def __init__(
        self, home: Home, declaration: Declaration, options: AllOptions | None = None
    ) -> None:
        self.home = home
        self.declaration = declaration
        self.options: AllOptions = options or {}

    @property
    def name(self) -> str:
        """Name on the wire, without the app's namespace."""
        return self.home.prefix + self.declaration.name

    def with_options(self, options: AllOptions) -> Call:
        """The same with further options.

        Raises:
            TypeError: there is no such option.
        """
        check_names(options)
        return Call(self.home, self.declaration, {**self.options, **options})

    def request(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], unseen: bool
    ) -> tuple[bytes, AllOptions]:
        """The workload and the options of a call.

        Args:
            unseen: nobody gets the task of a foreground job, only its result.

        Raises:
            TypeError, EncodeError: it cannot be made.
        """
        declaration = self.declaration
        workload = declaration.signature.encode(declaration.signature.bind(args, kwargs))
        options = self.options
        if declaration.unique is not None and "unique" not in options:
            unique = declaration.unique
            key = unique if isinstance(unique, str) else unique(*args, **kwargs)
            options = {**options, "unique": key}
        if declaration.priority != "normal" and "priority" not in options:
            options = {**options, "priority": declaration.priority}
        if unseen and declaration.is_generator and options.get("on_data") is None:
            # What it yields is not part of what it returns, so it need not be kept.
            options = {**options, "on_data": _drop}
        return workload, options


def _drop(task: object, data: bytes) -> None:
    return None
