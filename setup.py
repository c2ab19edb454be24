"""Builds geartrain, with its hot path compiled where a C compiler is at hand.

The hot path is plain typed Python that mypyc compiles as it is; the same files
run uncompiled. So there are two kinds of wheel: a compiled one, for one Python
and one platform, and a pure one for all of them, which is slower.

What decides (environment):

    GEARTRAIN_PURE=1             build the pure wheel, whatever is at hand
    GEARTRAIN_COMPILE=require    fail if there is no working C compiler

Otherwise a small C file is compiled first, to see. If that fails, the pure
wheel is built, and said so: in words, which pip shows with -v only, and in the
wheel's build tag, which is the one thing that pip shows always ("Created wheel
for geartrain: filename=geartrain-...-0_slower_pure_python_build-..."). A type error in the hot path, or C that does not
compile although the small file did, is a fault of ours and fails the build.

All other settings are in pyproject.toml.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

#: The hot path: every file named or matched here is compiled, if it exists.
#: ``__init__.py`` never is: a package's door stays readable to tools.
HOT = [
    "src/geartrain/terms.py",
    "src/geartrain/values.py",
    "src/geartrain/protocol/*.py",
    "src/geartrain/broker/*.py",
    "src/geartrain/frontends/*.py",
    "src/geartrain/server/reactor.py",
    "src/geartrain/server/session.py",
    "src/geartrain/server/store_batch.py",
    "src/geartrain/server/store_commit.py",
    "src/geartrain/server/store_rows.py",
    "src/geartrain/server/store_writer.py",
    "src/geartrain/server/tls_session.py",
    "src/geartrain/server/whistle.py",
    "src/geartrain/client/channel.py",
    "src/geartrain/client/connection.py",
    "src/geartrain/client/due_calls.py",
    "src/geartrain/client/engine.py",
    "src/geartrain/client/events.py",
    "src/geartrain/client/hearing.py",
    "src/geartrain/client/leading.py",
    "src/geartrain/client/sending.py",
    "src/geartrain/client/task.py",
    "src/geartrain/transport/sync.py",
    "src/geartrain/worker/connection.py",
    "src/geartrain/worker/events.py",
    "src/geartrain/worker/functions.py",
    "src/geartrain/worker/job.py",
    "src/geartrain/worker/slot.py",
    "src/geartrain/stores/batch.py",
    "src/geartrain/stores/lane.py",
    "src/geartrain/stores/postgres_batch.py",
    "src/geartrain/stores/postgres_columns.py",
    "src/geartrain/stores/records.py",
    "src/geartrain/stores/sqlite_adding.py",
    "src/geartrain/stores/sqlite_changes.py",
    "src/geartrain/stores/sqlite_hold.py",
    "src/geartrain/stores/sqlite_log.py",
    "src/geartrain/stores/sqlite_rows.py",
    "src/geartrain/stores/sqlite_transaction.py",
    "src/geartrain/stores/sqlite_writer.py",
]

#: Matched above, yet left as they are.
NOT_HOT = [
    # tests and fuzzing only
    "src/geartrain/broker/invariants.py",
    "src/geartrain/broker/invariant_words.py",
    "src/geartrain/broker/crew_invariants.py",
    "src/geartrain/broker/job_invariants.py",
]

#: The library that all compiled modules share is ``geartrain__mypyc``.
GROUP = "geartrain"

PURE_NOTICE = "built without a compiler: this is the slower, pure Python build"
#: A build tag has to begin with a digit. It is no part of the version.
PURE_TAG = "0_slower_pure_python_build"


def hot_modules() -> list[str]:
    """The files to compile, in an order that does not depend on the file system."""
    found = {path for pattern in HOT for path in glob(pattern)}
    found -= set(NOT_HOT)
    return sorted(path for path in found if not path.endswith("__init__.py"))


def say(text: str) -> None:
    """Tell the person who builds; pip shows stderr with -v or on failure."""
    line = "=" * (len(text) + 4)
    print(f"{line}\n  {text}\n{line}", file=sys.stderr, flush=True)


def compiler_fault() -> str | None:
    """Why an extension cannot be compiled here, or None if it can.

    Tries the very thing that is needed: C that includes ``Python.h``, compiled
    and linked by the compiler that setuptools would use.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(
            "#include <Python.h>\n"
            'static struct PyModuleDef d = {PyModuleDef_HEAD_INIT, "probe", NULL, -1, NULL};\n'
            "PyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&d); }\n"
        )
        distribution = Distribution({"name": "probe", "ext_modules": []})
        distribution.ext_modules = [Extension("probe", [str(source)])]
        command = build_ext(distribution)
        command.build_lib = command.build_temp = folder
        try:
            command.ensure_finalized()
            command.run()
        except (Exception, SystemExit) as error:  # whatever it is, there will be no extension
            return f"{type(error).__name__}: {error}".strip()
    return None


class BuildPy(build_py):
    """Sweeps before it copies.

    setuptools packs whatever lies in ``build/lib``. A module that was removed,
    or is no longer compiled, would go on living there.
    """

    def run(self) -> None:
        if not self.editable_mode:
            self.sweep(Path(self.build_lib))
        super().run()

    def sweep(self, lib: Path) -> None:
        compiler = self.get_finalized_command("build_ext")
        compiled = {
            Path(compiler.get_ext_fullpath(extension.name)).resolve()
            for extension in self.distribution.ext_modules or []
        }
        for path in lib.rglob("*"):
            if path.is_file() and path.resolve() not in compiled:
                path.unlink()


class BuildExt(build_ext):
    """Compiles on all cores: one large C file, and a small one for each module."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.parallel = os.cpu_count() or 1


def build_tag(built: list[Extension]) -> dict[str, str]:
    """What ``bdist_wheel`` shall know: a wheel that nobody asked to be pure tells that it is."""
    asked_for = os.environ.get("GEARTRAIN_PURE", "0") not in ("", "0")
    return {} if built or asked_for else {"build_number": PURE_TAG}


def extensions() -> list[Extension]:
    """The compiled modules, or none at all if this is to be the pure build."""
    required = os.environ.get("GEARTRAIN_COMPILE") == "require"
    if os.environ.get("GEARTRAIN_PURE", "0") not in ("", "0"):
        if required:
            raise SystemExit("GEARTRAIN_PURE and GEARTRAIN_COMPILE=require contradict each other")
        fault: str | None = "GEARTRAIN_PURE is set"
    elif platform.python_implementation() != "CPython":
        fault = f"mypyc knows CPython only, this is {platform.python_implementation()}"
    else:
        fault = compiler_fault()
    if fault is not None:
        if required:
            raise SystemExit(f"GEARTRAIN_COMPILE=require, but: {fault}")
        say(f"{PURE_NOTICE} ({fault})")
        return []

    modules = hot_modules()
    if not modules:
        say(f"{PURE_NOTICE} (there is no hot path yet)")
        return []
    from mypyc.build import mypycify

    built: list[Extension] = mypycify(
        [
            # Not pyproject's settings: those want the packages that developers
            # have. `make check` is the strict one; here the types of the hot
            # path must be right, and of what it imports they must be known.
            "--config-file=",
            "--cache-dir=build/mypy-cache",
            "--follow-imports=silent",
            "--ignore-missing-imports",
            "--disallow-untyped-defs",
            "--check-untyped-defs",
            "--explicit-package-bases",
            *modules,
        ],
        opt_level="3",
        debug_level="0",
        group_name=GROUP,
        multi_file=False,
        # The C differs between Pythons: two builds from one tree must not meet.
        target_dir=f"build/mypyc-{sys.implementation.cache_tag}",
    )
    flags = ["-fno-plt", "-Wno-error", "-Wno-all"] if os.name == "posix" else []
    for extension in built:
        # A compiler newer than mypyc may warn of things that were fine so far;
        # that is no reason to leave a user without the fast build. Looking for them
        # takes gcc as long as all else: 156 s of a processor, and 82 without.
        extension.extra_compile_args = [*extension.extra_compile_args, *flags]
        # Flags and the list of modules are here: what was compiled before they changed is stale.
        extension.depends = [*extension.depends, "setup.py"]
    print(f"compiling the hot path: {len(modules)} modules", file=sys.stderr)
    return built


def wants_extensions() -> bool:
    """Whether this command builds anything: metadata and sdist need no compiler."""
    return not {"sdist", "egg_info", "dist_info", "clean", "--version"} & set(sys.argv[1:])


# mypy looks for the packages below src; egg-info goes to build/ so that src/
# holds nothing but source.
os.environ["MYPYPATH"] = "src"
Path("build").mkdir(exist_ok=True)

modules = extensions() if wants_extensions() else []
setup(
    ext_modules=modules,
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
    options={"egg_info": {"egg_base": "build"}, "bdist_wheel": build_tag(modules)},
)
