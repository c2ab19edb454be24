"""Targets: what people write on the command line, and the functions found behind it.

::

    images:app        the App (or Worker) called ``app`` in the module ``images``
    images            every App and Worker in that module
    shop              a package: also of each ``gearman_functions`` module inside it
    --dir workers/    one file, one function: workers/reverse.py has reverse(job)

An App is whatever has ``functions`` (a mapping by name) and ``register(worker,
only=..., exclude=...)``. A module that needs a key may have
``gearman_target(*, key)``, which is called instead of searching it.

This runs in each process after the fork, never in the manager: so a reload finds new
code, and code that cannot be loaded hurts nobody.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from geartrain.errors import ConfigurationError

if TYPE_CHECKING:
    from geartrain.worker.functions import Functions

#: The module that is looked for in every part of a package.
DISCOVERED: Final = "gearman_functions"


class Target:
    """Functions that were found in one place.

    Attributes:
        source: the place, for people.
        names: the functions.
        register: gives a worker those of the named functions that are here.
        servers, namespace, context: what the target says of itself, or None.
    """

    def __init__(
        self,
        source: str,
        names: Iterable[str],
        register: Callable[[Any, frozenset[str]], None],
        origin: object = None,
    ) -> None:
        self.source = source
        self.names = tuple(names)
        self.register = register
        self.servers: Any = getattr(origin, "servers", None)
        self.namespace: str = getattr(origin, "namespace", "") or ""
        self.context: Any = getattr(origin, "context", None)


def load(
    targets: Iterable[str], folders: Iterable[str] = (), key: bytes | None = None
) -> list[Target]:
    """Import everything, and return what was found.

    Raises:
        ConfigurationError: a target does not exist, or has no functions; or two have
            the same one. What the imported code raises goes through.
    """
    found: dict[int, Target] = {}
    for text in targets:
        for source, thing in _things(text, key):
            target = _target(source, thing)
            if target is not None:
                found.setdefault(id(thing), target)
    everything = list(found.values())
    for folder in folders:
        everything += _folder(folder)
    where: dict[str, str] = {}
    for target in everything:
        for name in target.names:
            if name in where:
                raise ConfigurationError(
                    f"the function {name!r} is in {where[name]} and in {target.source}: "
                    f"a worker can have it once"
                )
            where[name] = target.source
    if not everything:
        raise ConfigurationError("nothing to do: name a target, such as images:app, or --dir")
    return everything


def read_key(path: str) -> bytes | None:
    """The key in a file, without white space around it; None for no file.

    Raises:
        ConfigurationError: it cannot be read, or is empty.
    """
    if not path:
        return None
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(f"cannot read --key-file {path}: {error.strerror}") from None
    if not key:
        raise ConfigurationError(f"--key-file {path} is empty")
    return key


def choose(
    names: Iterable[str], only: Iterable[str], exclude: Iterable[str], mentioned: Iterable[str]
) -> frozenset[str]:
    """The functions to offer.

    Args:
        names: all there are.
        only: no others; empty: all.
        exclude: not these.
        mentioned: every name that a person wrote, to find slips of the pen.

    Raises:
        ConfigurationError: a name that was mentioned does not exist.
    """
    known = set(names)
    for name in mentioned:
        if name not in known:
            near = get_close_matches(name, sorted(known), 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
            raise ConfigurationError(f"no target has a function {name!r}; {hint}")
    return frozenset((set(only) & known or set(() if only else known)) - set(exclude))


# ── modules and packages ─────────────────────────────────────────────────────


def _things(text: str, key: bytes | None) -> Iterator[tuple[str, object]]:
    """Where, and the App or Worker that is there."""
    name, _, path = text.partition(":")
    module = _import(name, text)
    if path:
        thing: object = module
        for part in path.split("."):
            try:
                thing = getattr(thing, part)
            except AttributeError:
                raise ConfigurationError(
                    f"{text}: {name} has no {path!r}{_candidates(module)}"
                ) from None
        if _target(text, thing) is None:
            raise ConfigurationError(
                f"{text} is neither an App nor a Worker, but {thing!r}{_candidates(module)}"
            )
        yield text, thing
        return
    maker = getattr(module, "gearman_target", None)
    if callable(maker):
        yield text, maker(key=key)
        return
    modules = [module, *_discover(module)]
    found = False
    for one in modules:
        for attribute, thing in list(vars(one).items()):
            if not attribute.startswith("__") and _target("", thing) is not None:
                found = True
                yield f"{one.__name__}:{attribute}", thing
    if not found:
        if hasattr(module, "__path__"):
            raise ConfigurationError(
                f"{text}: no App and no Worker in this package, nor in a module called "
                f"{DISCOVERED} below it"
            )
        raise ConfigurationError(
            f"{text}: no App and no Worker in this module; a file of plain functions is for --dir"
        )


def _import(name: str, text: str) -> ModuleType:
    want = "want module, package or module:app"
    if name.endswith(".py"):
        raise ConfigurationError(f"{text!r}: {want}; leave out .py: {Path(name).stem}")
    if not name or not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"{text!r} is no target: {want}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise
        raise ConfigurationError(
            f"there is no module {error.name!r} (target {text}); modules are looked for in the "
            f"current directory, {sys.path[0] or '.'}, and where Python looks"
        ) from None


def _candidates(module: ModuleType) -> str:
    names = [n for n, thing in vars(module).items() if n[:2] != "__" and _target("", thing)]
    return f"; it has {', '.join(f'{module.__name__}:{n}' for n in names)}" if names else ""


def _discover(package: ModuleType) -> Iterator[ModuleType]:
    """Every ``gearman_functions`` inside; nothing else of the package is imported for it."""
    pending = [(package.__name__, list(getattr(package, "__path__", ())))]
    while pending:
        prefix, paths = pending.pop(0)
        for info in sorted(pkgutil.iter_modules(paths), key=lambda info: info.name):
            name = f"{prefix}.{info.name}"
            if info.name == DISCOVERED:
                yield importlib.import_module(name)
            if info.ispkg:
                pending.append((name, [str(Path(path) / info.name) for path in paths]))


# ── Apps, Workers ────────────────────────────────────────────────────────────


def _target(source: str, thing: Any) -> Target | None:
    """The target that an object is, if it is one."""
    if isinstance(thing, type):
        return None
    functions = getattr(thing, "functions", None)
    if functions is None:
        return None
    if callable(getattr(thing, "register", None)) and isinstance(functions, Mapping):

        def register(worker: Any, names: frozenset[str]) -> None:
            thing.register(worker, only=set(names), exclude=set())

        return Target(source, functions, register, thing)
    from geartrain.worker.functions import Functions

    if isinstance(functions, Functions) and callable(getattr(thing, "work", None)):
        return Target(
            source,
            [ability.name for ability in abilities(functions)],
            lambda worker, names: _copy(functions, worker, names),
            thing,
        )
    return None


def abilities(functions: Functions) -> list[Any]:
    """What a worker can do, in the order in which it was told."""
    found = [functions.find(name) for name in functions.on_the_wire()]
    return [ability for ability in reversed(found) if ability is not None]


def _copy(functions: Functions, worker: Any, names: frozenset[str]) -> None:
    prefix = functions.namespace.removeprefix(worker.namespace)
    for ability in abilities(functions):
        if ability.name in names:
            worker.add_function(
                prefix + ability.name,
                ability.handler,
                timeout=ability.timeout_ms / 1000 or None,
                codec=ability.codec,
            )


# ── a directory of functions ─────────────────────────────────────────────────


def _folder(folder: str) -> list[Target]:
    path = Path(folder)
    if not path.is_dir():
        raise ConfigurationError(f"--dir {folder}: there is no such directory")
    if str(path.resolve()) not in sys.path:
        sys.path.append(str(path.resolve()))  # what the files share
    found = []
    for file in sorted(path.glob("*.py")):
        if not file.name.startswith(("_", ".")):
            found += _file(file)
    if not found:
        raise ConfigurationError(f"--dir {folder}: no file *.py in it")
    return found


def _file(file: Path) -> list[Target]:
    name = f"gearman_dir_{file.parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    things = [_target(str(file), thing) for thing in list(vars(module).values())]
    targets = [target for target in things if target is not None]
    if targets:
        return targets
    handler = _handler(module, file)
    timeout = getattr(module, "TIMEOUT", None)
    codec = getattr(module, "CODEC", "bytes")

    def register(worker: Any, names: frozenset[str]) -> None:
        if file.stem in names:
            worker.add_function(file.stem, handler, timeout=timeout, codec=codec)

    return [Target(str(file), [file.stem], register)]


def _handler(module: ModuleType, file: Path) -> Callable[..., Any]:
    """``reverse(job)`` or ``run(job)``; or a class of that name with ``run(self, job)``."""
    for name in (file.stem, "run"):
        thing = getattr(module, name, None)
        if callable(thing) and not inspect.isclass(thing):
            handler: Callable[..., Any] = thing
            return handler
    wanted = file.stem.replace("_", "").lower()
    for name, thing in vars(module).items():
        if inspect.isclass(thing) and name.replace("_", "").lower() == wanted:
            run = getattr(thing(), "run", None)
            if callable(run):
                method: Callable[..., Any] = run
                return method
    raise ConfigurationError(
        f"{file}: want a function {file.stem}(job) or run(job), or a class with run(self, job); "
        f"begin the file's name with _ if it is no function"
    )
