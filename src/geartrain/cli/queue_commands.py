"""``gearadmin dead``, ``job``, ``why``: look at jobs, and decide about them.

Lists are written as they come, however long they are; how, is ``job_rows.py``'s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Final

from geartrain.cli import terminal
from geartrain.cli.asking import Asker, Found, Refused, in_lines, word
from geartrain.cli.gearadmin_options import Call
from geartrain.cli.job_rows import (
    DEAD,
    JOBS,
    Columns,
    Lines,
    body_of,
    for_people,
    print_body,
    put,
)
from geartrain.cli.options import UsageError, whole
from geartrain.errors import GearmanError
from geartrain.transport.address import Address

#: Seconds without a word after which a server is given up; and where it may have to search.
SILENCE: Final = 10.0
LONG_SILENCE: Final = 600.0

#: What a server says about a handle that it does not know.
_UNKNOWN: Final = "UNKNOWN_JOB"


def run(call: Call) -> int:
    """Carry the command out; return the exit status."""
    commands: dict[str, Callable[[Commands], bool]] = {
        "dead list": lambda c: c.list_all("dead list", DEAD),
        "dead show": lambda c: c.show("dead show"),
        "dead export": lambda c: c.export(),
        "dead retry": lambda c: c.change("dead retry", "retried"),
        "dead delete": lambda c: c.change("dead delete", "deleted"),
        "job list": lambda c: c.list_all("job list", JOBS),
        "job show": lambda c: c.show("job show"),
        "job cancel": lambda c: c.cancel(),
        "why": lambda c: c.why(),
    }
    try:
        if "" in call.operands:
            raise UsageError(
                f"{call.name}: a HANDLE is empty; gearadmin job list has those that are there"
            )
        well = commands[call.name](Commands(call))
    except UsageError as error:
        terminal.say("gearadmin", str(error))
        return 1
    except GearmanError as error:
        terminal.say("gearadmin", f"{call.name}: {error}")
        return 1
    return 0 if well else 1


class Commands:
    """One run of one command."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._parsed = call.parsed
        # All of a million jobs may have to be looked at before there is anything to say.
        long = any(key in call.parsed for key in ("all", "function", "state"))
        self._asker = Asker(call.parsed, LONG_SILENCE if long else SILENCE)
        self._json = "json" in call.parsed
        self._live = terminal.is_terminal(1)
        self._several = len(self._asker.addresses) > 1
        #: Longest name of a server.
        self._server = max((len(str(one)) for one in self._asker.addresses), default=0)

    # ── lists ────────────────────────────────────────────────────────────────

    def list_all(self, verb: str, columns: Columns) -> bool:
        """All there are, of every server; True if every server answered."""
        limit = whole(self._parsed, "limit", 0)
        if self._several:
            columns = [("server", self._server), *columns]
        out = Lines(columns, self._json, self._live)
        well = True
        none = True
        left = limit
        for address in self._asker.addresses:
            try:
                for found in self._asker.every(address, verb, *self._filters()):
                    if self._several:
                        found = {"server": str(address), **found}
                    out.write(found)
                    none = False
                    left -= 1
                    if limit and left == 0:
                        out.close()
                        return well
            except GearmanError as error:
                well = self._complain(address, error)
        out.close()
        if none and well and self._live:
            # Beside the list, not in it: a person wonders about silence, a program counts lines.
            terminal.say("gearadmin", self._nothing(verb))
        return well

    def _nothing(self, verb: str) -> str:
        """In words, that a list is empty."""
        parsed = self._parsed
        of = f" of {parsed.last('function')!r}" if "function" in parsed else ""
        state = f" that is {parsed.last('state')}" if "state" in parsed else ""
        behind = f" behind {parsed.last('after')}" if "after" in parsed else ""
        if verb == "dead list":
            return f"no dead job{of}{behind}" if of or behind else "the dead set is empty"
        return f"no job{of}{state}{behind}" if of or state or behind else "there are no jobs"

    def export(self) -> bool:
        """Objects with bodies, one a line."""
        well = True
        for address in self._asker.addresses:
            try:
                for found in self._asker.every(address, "dead export", *self._filters()):
                    put(json.dumps(found))
            except GearmanError as error:
                well = self._complain(address, error)
        return well

    def _filters(self) -> list[str]:
        words = [f"{key}={word(self._parsed.last(key))}" for key in ("function", "state") if key in self._parsed]  # fmt: skip
        if "after" in self._parsed:
            words.append(f"after={word(self._parsed.last('after'))}")
        return words

    def _complain(self, address: Address, error: GearmanError) -> bool:
        named = f"{address}: " if self._several else ""
        terminal.say("gearadmin", f"{self._call.name}: {named}{error}")
        return False

    # ── one job ──────────────────────────────────────────────────────────────

    def show(self, verb: str) -> bool:
        """All that is known of a job, and its body."""
        found = self._somewhere(verb, self._call.operands[0])
        if "body-only" in self._parsed:
            terminal.write_all(1, body_of(found) or b"")
        elif self._json:
            put(json.dumps(found, indent=2 if self._live else None))
        else:
            for key, value in found.items():
                if key not in ("body", "body_base64"):
                    put(f"{key + ':':<11} {for_people(key, value)}")
            print_body(body_of(found))
        return True

    def _somewhere(self, verb: str, handle: str) -> Found:
        """The answer of the first server that knows the job."""
        for address in self._asker.addresses:
            try:
                return self._asker.one(address, verb, word(handle))
            except Refused as error:
                if error.code != _UNKNOWN:
                    raise
        raise Refused(f"{handle}: {_UNKNOWN}")

    def why(self) -> bool:
        """Sentences about a job; False if no server knows it."""
        found: Found = {"state": "unknown"}
        for address in self._asker.addresses:
            heard = self._asker.one(address, "why", word(self._call.operands[0]))
            if self._several:
                heard = {"server": str(address), **heard}
            # One that knows of it counts more than none, and one that has it more than that.
            if heard["state"] != "unknown" or "why" not in found:
                found = heard
            if found["state"] not in ("unknown", "elsewhere"):
                break
        if self._json:
            put(json.dumps(found, indent=2 if self._live else None))
        else:
            if self._several and found["state"] != "unknown":
                put(f"at {found['server']}:")
            for sentence in found["why"]:
                put(sentence)
        return bool(found["state"] != "unknown")

    def cancel(self) -> bool:
        """Cancel jobs, one after the other, wherever they are; False if one is unknown."""
        count = 0
        unknown = []
        for handle in self._handles():
            for address in self._asker.addresses:
                try:
                    self._asker.plain(address, "cancel job", handle)
                except Refused as error:
                    if error.code != _UNKNOWN:
                        raise
                    continue
                count += 1
                break
            else:
                unknown.append(handle)
        if self._json:
            put(json.dumps({"cancelled": count, "unknown": unknown}))
        else:
            put(f"cancelled {count}")
            for handle in unknown:
                terminal.say("gearadmin", f"{handle}: {_UNKNOWN}")
        return not unknown

    def _handles(self) -> list[str]:
        """Those given as words, or in the first column of what is piped in."""
        handles = self._call.operands
        if handles == ["-"]:
            return [line.split()[0] for line in sys.stdin if line.strip()]
        return handles

    # ── decisions ────────────────────────────────────────────────────────────

    def change(self, verb: str, counted: str) -> bool:
        """Have something done with jobs; True if it was done with all of them."""
        count = 0
        well = True
        stayed: list[str] = []
        unknown: list[str] = []
        for address, said in self._meant(verb):
            try:
                found = self._asker.one(address, verb, *said)
            except Refused as error:
                well = self._complain(address, error)
                continue
            count += found[counted]
            stayed += found.get("kept", [])
            unknown += found.get("unknown", [])
            more = found.get("stayed", 0) - len(found.get("kept", []))
            stayed += [f"{more} more"] if more > 0 else []
        if self._json:
            put(json.dumps({counted: count, "stayed": stayed, "unknown": unknown}))
        else:
            put(f"{counted} {count}")
            for handle in stayed:
                terminal.say("gearadmin", f"{handle} stays: another job has its unique key by now")
            for handle in unknown:
                terminal.say("gearadmin", f"{handle}: {_UNKNOWN}")
        return well and not stayed and not unknown

    def _meant(self, verb: str) -> Iterator[tuple[Address, list[str]]]:
        handles = self._handles()
        if ("all" in self._parsed) == bool(handles):
            raise UsageError(f"want: gearadmin {verb} HANDLE..., or --all [--function NAME]")
        if "all" in self._parsed:
            for address in self._asker.addresses:
                yield address, ["all", *self._filters()]
            return
        if "function" in self._parsed:
            raise UsageError("--function goes with --all: a handle says enough")
        if len(self._asker.addresses) == 1:
            for said in in_lines(verb, [word(handle) for handle in handles]):
                yield self._asker.addresses[0], said
            return
        for handle in handles:
            yield self._home_of(handle), [word(handle)]

    def _home_of(self, handle: str) -> Address:
        """Which of several servers knows this dead job."""
        for address in self._asker.addresses:
            try:
                self._asker.one(address, "dead show", word(handle))
            except Refused as error:
                if error.code != _UNKNOWN:
                    raise
                continue
            return address
        raise Refused(f"{_UNKNOWN} {handle}")
