"""``gearadmin``: ask a job server how it is, and tell it what to do."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from geartrain.cli import terminal
from geartrain.cli.gearadmin_options import (
    COMMANDS,
    EXAMPLES,
    LEAD,
    TABLE,
    USAGE,
    Call,
    Operation,
    Settings,
    settings,
)
from geartrain.cli.options import UsageError

if TYPE_CHECKING:
    from geartrain.cli.answers import Answer
    from geartrain.transport.address import Address


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        asked = settings(sys.argv[1:] if arguments is None else arguments, os.environ)
    except UsageError as error:
        terminal.say("gearadmin", str(error))
        if str(error).startswith("no operation"):
            terminal.write_all(1, _help().encode())
        else:
            terminal.write_all(2, b"Try 'gearadmin --help'.\n")
        return 1
    try:
        if isinstance(asked, str):
            terminal.write_all(1, (_version() if asked == "version" else _help()).encode())
            return 0
        if isinstance(asked, Call):
            return _command(asked)
        return Admin(asked).run()
    except BrokenPipeError:
        return terminal.end_like_a_broken_pipe()
    except KeyboardInterrupt:
        return 130


def _version() -> str:
    from geartrain import __version__

    return f"gearadmin {__version__} (geartrain)\n"


def _help() -> str:
    from geartrain.cli.options import help_text

    return help_text(
        TABLE,
        USAGE,
        LEAD,
        EXAMPLES,
        bold=terminal.likes_colour(1),
        width=terminal.width(1),
        commands=COMMANDS,
    )


def _command(call: Call) -> int:
    """Carry out a command; return its exit status."""
    if call.name == "import":
        from geartrain.cli import take_over

        return take_over.run(call)
    from geartrain.cli import queue_commands

    return queue_commands.run(call)


class Admin:
    """One run: every operation, on every server, once or again and again."""

    def __init__(self, asked: Settings) -> None:
        self._asked = asked
        self._live = terminal.is_terminal(1)

    def run(self) -> int:
        """Do it; return the exit status."""
        from geartrain.errors import ConfigurationError
        from geartrain.transport.address import parse_servers

        try:
            addresses = parse_servers(self._asked.servers, environ={})
        except ConfigurationError as error:
            _complain(str(error))
            return 1
        while True:
            due = time.monotonic() + self._asked.watch
            text, well = self._round(addresses)
            if self._asked.watch and self._live:
                clear = "\x1b[H\x1b[2J" if terminal.can_move(1) else ""
                text = f"{clear}{time.strftime('%H:%M:%S')}\n{text}"
            terminal.write_all(1, text.encode("utf-8", "surrogateescape"))
            if not self._asked.watch:
                return 0 if well else 1
            time.sleep(max(0.0, due - time.monotonic()))

    def _round(self, addresses: tuple[Address, ...]) -> tuple[str, bool]:
        """Ask all servers all things; return what to print, and whether all went well."""
        well = True
        heard: list[list[Answer]] = []
        for address in addresses:
            answers, fault = self._ask(address)
            heard.append(answers)
            if fault:
                well = False
                _complain(fault)
        text = ""
        found: dict[str, object] = {}
        for at, operation in enumerate(self._asked.operations):
            answers = [one[at] for one in heard if at < len(one)]
            good = [answer for answer in answers if not answer.error]
            # Only one of several servers has the job: no fault of the others.
            elsewhere = operation.name == "cancel-job" and good
            for answer in answers:
                if answer.error and not elsewhere:
                    well = False
                    named = f"{answer.server}: " if len(addresses) > 1 else ""
                    _complain(f"{named}{answer.error}{_way_out(answer)}")
            if good:
                text += self._render(good, found)
        return (self._json(found) if self._asked.json else text), well

    def _render(self, good: list[Answer], found: dict[str, object]) -> str:
        from geartrain.cli import answers

        if self._asked.json:
            found[good[0].operation] = answers.data(good)
            return ""
        if self._live:
            return answers.table(good, terminal.likes_colour(1), terminal.width(1))
        return answers.plain(good)

    def _json(self, found: dict[str, object]) -> str:
        import json

        text = json.dumps(found, indent=2 if self._live else None, ensure_ascii=False)
        # Names may hold bytes that are no text; they are shown as \xNN.
        raw = text.encode("utf-8", "surrogateescape")
        return raw.decode("utf-8", "backslashreplace").replace("\\x", "\\\\x") + "\n"

    def _ask(self, address: Address) -> tuple[list[Answer], str]:
        """One server's answers, as far as they came, and what went wrong, if anything."""
        from geartrain.cli.answers import Answer
        from geartrain.client.connection import ClientConnection
        from geartrain.client.events import LineReply
        from geartrain.errors import GearmanError
        from geartrain.transport.sync import connect
        from geartrain.transport.tls import client_context

        answers: list[Answer] = []
        asked = self._asked
        try:
            stream = connect(address, asked.timeout, client_context(asked.ssl, os.environ))
        except GearmanError as error:
            return answers, str(error)
        try:
            connection = ClientConnection(exceptions=False)
            for operation in asked.operations:
                deadline = None if asked.timeout is None else time.monotonic() + asked.timeout
                connection.admin(_encode(operation))
                stream.send(connection.data_to_send())
                reply: LineReply | None = None
                while reply is None:
                    data = stream.receive(deadline)
                    if not data:
                        if operation.name == "shutdown":
                            return answers, ""  # it took us at our word
                        return answers, f"{address} closed the connection"
                    for event in connection.receive_data(data):
                        if isinstance(event, LineReply):
                            reply = event
                answers.append(Answer(str(address), operation.name, reply.lines))
        except TimeoutError:
            return answers, f"{address} did not answer within {asked.timeout:g} s"
        except OSError as error:
            return answers, f"{address}: {error.strerror or error}"
        except GearmanError as error:
            return answers, f"{address}: {error}"
        finally:
            stream.close()
        return answers, ""


def _way_out(answer: Answer) -> str:
    """What to do about it, where the server's own words do not say."""
    if answer.operation == "shutdown" and answer.error.startswith("UNKNOWN_COMMAND"):
        return "; start it with --admin-shutdown to allow this, or send it SIGTERM"
    return ""


def _encode(operation: Operation) -> bytes:
    return operation.line.encode("utf-8", "surrogateescape")


def _complain(text: str) -> None:
    terminal.write_all(2, f"Error: {text}\n".encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    sys.exit(main())
