"""``gearmand`` as a command: options, files, signals, background, systemd."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from geartrain.cli.gearmand import build_parser, main, read_settings
from geartrain.server.settings import Settings
from tests.conformance.servers import python_environment
from tests.conformance.wire import Wire
from tests.support import free_port, patient, wait_until

COMMAND = [sys.executable, "-m", "geartrain.cli.gearmand"]


def environment(**more: str) -> dict[str, str]:
    found = python_environment()
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS"):
        found.pop(name, None)
    return {**found, **more}


def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=patient(20.0),
        env=environment(**more),
    )


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command called wrongly says, with status 1."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("gearmand: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


class Started:
    """A gearmand in its own process.

    Args:
        words: its command line; ``-p PORT`` and an address are there already.
    """

    def __init__(self, log: Path, *words: str, **more: str) -> None:
        self.port = free_port()
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*COMMAND, "-p", str(self.port), "-L", "127.0.0.1", *words],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment(**more),
            )  # fmt: skip

    def log(self) -> str:
        return self._log.read_text()

    def wire(self) -> Wire:
        """A connection, as soon as it listens."""

        def connect() -> Wire | None:
            assert self.process.poll() is None, self.log()
            try:
                return Wire(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                return None

        wire = wait_until(connect, within=10.0)
        assert wire is not None
        return wire

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(patient(10.0))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[Started]]:
    """Start servers; they are gone after the test."""
    started: list[Started] = []

    class Kept(Started):
        def __init__(self, *words: str, **more: str) -> None:
            super().__init__(tmp_path / f"log-{len(started)}", *words, **more)
            started.append(self)

    yield Kept

    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.wait()


# ── asking ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_reads_as_at_least_1_1_19(option: str) -> None:
    done = run(option)

    assert done.returncode == 0
    assert done.stdout.startswith("\ngearmand ")
    found = re.match(r"\ngearmand (\d+)\.(\d+)\.(\d+)", done.stdout)
    assert found is not None
    assert tuple(map(int, found.groups())) >= (1, 1, 19)
    assert "compiled" in done.stdout or "pure Python" in done.stdout


def test_help_names_every_option_of_the_c_server() -> None:
    done = run("--help")

    assert done.returncode == 0
    for option in (
        "-b --backlog", "-d --daemon", "--exceptions", "-f --file-descriptors", "-h --help",
        "-j --job-retries", "--job-handle-prefix", "--hashtable-buckets", "--keepalive",
        "--keepalive-idle", "--keepalive-interval", "--keepalive-count", "-l --log-file",
        "-L --listen", "-p --port", "-P --pid-file", "-R --round-robin", "--syslog",
        "--coredump", "-t --threads", "-u --user", "--verbose", "-V --version",
        "-w --worker-wakeup", "--check-args", "--config-file", "-r --protocol", "--http-port",
        "--ssl", "--ssl-ca-file", "--ssl-certificate", "--ssl-key", "--ssl-verify",
    ):  # fmt: skip
        short, _, long = option.rpartition(" ")
        assert re.search(rf"^  {short}.*{long}\b", done.stdout, re.MULTILINE), option


def test_c_servers_command_line_is_accepted() -> None:
    done = run(
        "-b", "32", "--exceptions", "-j", "3", "--job-handle-prefix", "P", "-R", "-t", "4",
        "--hashtable-buckets=99991", "--keepalive", "--keepalive-idle", "30",
        "--keepalive-interval=5", "--keepalive-count", "3", "-w", "8", "--verbose", "INFO",
        "--coredump", "-l", "stderr", "-L", "127.0.0.1", "-p", "4730", "--check-args",
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "all settings are right\n"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--bogus"], "unrecognised option '--bogus'"),
        (["-v"], "unrecognised option '-v'"),
        (["--job-ret", "3"], "unrecognised option '--job-ret'"),
        (["operand"], "unrecognised option 'operand'"),
        ([""], "unrecognised option ''"),
        (["-j", "x"], "the argument ('x') for option '--job-retries' is invalid: want a whole"),
        (["-j", "-2"], "the argument ('-2') for option '--job-retries' is invalid"),
        (["-p", "no-such-service"], "port 'no-such-service' is neither"),
        (["-p", "70000"], "port '70000' is neither"),
        (
            ["--verbose", "debug"],
            "Invalid value for --verbose supplied: 'debug': want one of FATAL",
        ),
        (["--hashtable-buckets", "0"], "hashtable-buckets has to be greater than 0"),
        (["--max-memory", "lots"], "('lots') for option '--max-memory' is invalid: want a size"),
        (["--job-handle-prefix", "a b"], "job-handle-prefix 'a b' holds white space"),
        (["--job-handle-prefix", "x" * 60], "too long"),
        (
            ["-j", "2147483648"],
            "for option '--job-retries' is invalid: want a whole number, at least",
        ),
        (["-j", "1.5"], "the argument ('1.5') for option '--job-retries' is invalid"),
        (["-j", ""], "the argument ('') for option '--job-retries' is invalid"),
        (["-b", "0"], "the argument ('0') for option '--backlog' is invalid"),
        (["-f", "-1"], "the argument ('-1') for option '--file-descriptors' is invalid"),
        (["-f", "many"], "the argument ('many') for option '--file-descriptors' is invalid"),
        (["--verbose", "INFO "], "Invalid value for --verbose supplied: 'INFO '"),
        (["--verbose", ""], "Invalid value for --verbose supplied: ''"),
        (["--verbose"], "the required argument for option '--verbose' is missing"),
        (["-p"], "the required argument for option '--port' is missing"),
        (["--daemon=1"], "option '--daemon' does not take any arguments"),
        (["--hashtable-buckets", "x"], "('x') for option '--hashtable-buckets' is invalid"),
        (["-r", "foo"], "Unknown protocol module : foo"),
        (
            ["-r", "http"],
            "--protocol http: geartrain speaks no HTTP yet; leave --protocol http out",
        ),
        (["--protocol=http", "--http-port", "8080"], "submit with gearman(1)"),
        (["--http-port", "8080"], "--http-port: geartrain speaks no HTTP yet; leave --http-port"),
        (
            ["--config-file", "/no/such"],
            "Could not open configuration file. /no/such: No such file",
        ),
        (["--config", "/no/such/file.toml"], "cannot read /no/such/file.toml: No such file"),
        (["--keepalive-idle", "40000"], "('40000') for option '--keepalive-idle' is invalid"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([*words, "--check-args"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else -1

    said = capsys.readouterr()
    assert status == 1
    assert said.out == ""
    assert said.err.startswith("gearmand: ")
    assert said.err.count("\n") == 1
    assert named in said.err


def test_fault_in_the_file_names_file_and_key(tmp_path: Path) -> None:
    path = tmp_path / "g.toml"
    path.write_text("[limits]\nmax-memry = 1\n")

    said = one_line(run("--config", str(path), "--check-args"))

    assert f"{path}: limits.max-memry is unknown; [limits] has file-descriptors" in said


def test_port_in_use_names_the_port_and_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        said = one_line(run("-L", "127.0.0.1", "-p", str(port)))

    assert said == (
        f"gearmand: cannot listen on 127.0.0.1:{port}: the port is in use; stop the other server, "
        f"or choose another port with --port\n"
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-u", "no-such-user-here"], "Could not find user : no-such-user-here"),
        (["-u", "no-such-user-here", "--check-args"], "Could not find user : no-such-user-here"),
        (["-P", "/no/such/folder/pid"], "cannot write pid file /no/such/folder/pid: No such file"),
        (["-l", "/no/such/folder/log"], "cannot write log file /no/such/folder/log: No such file"),
        (["-L", "no.such.host.invalid"], "cannot listen on no.such.host.invalid"),
        (["-L", "192.0.2.1"], "cannot listen on 192.0.2.1:4730: this machine does not have"),
        (["-L", f"unix:{__file__}"], "there is a file of that name that is no socket; remove it"),
        (["-L", "unix:/no/such/folder/s"], "cannot listen on unix:/no/such/folder/s"),
        (["-L", "unix:/no/such/folder/s", "--unix-mode", "9"], "want an octal number such as 660"),
    ],
)
def test_what_cannot_be_had_is_named_in_one_line(words: list[str], named: str) -> None:
    if "-L" not in words:
        words = [*words, "-L", "127.0.0.1", "-p", "0"]

    assert named in one_line(run(*words))


# ── settings ─────────────────────────────────────────────────────────────────


def test_command_line_wins_over_the_file_and_the_file_over_defaults(
    start: type[Started], tmp_path: Path
) -> None:
    path = tmp_path / "g.toml"
    path.write_text(
        '[jobs]\njob-handle-prefix = "FILE"\nexceptions = true\n'
        '[log]\nverbose = "WARNING"\n[process]\nadmin-shutdown = true\n'
    )
    server = start("--config", str(path), "--verbose", "INFO")  # type: ignore[arg-type]
    wire = server.wire()

    wire.send_bytes(b"verbose\n")
    wire.expect_bytes(b"OK INFO\n")
    assert wire.submit(b"f").startswith(b"FILE:")
    wire.send_bytes(b"shutdown\n")
    wire.expect_bytes(b"OK\r\n")
    assert server.process.wait(patient(10.0)) == 0
    wire.close()


def settings_of(*words: str) -> Settings:
    return read_settings(build_parser().parse_args(words))


def test_options_file_of_the_c_servers_is_read_and_the_command_line_goes_before_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "gearmand.conf"
    path.write_text("--port=4731 -L 10.0.0.1\n\n  --job-retries\t3 bare words\n--exceptions\n")
    toml = tmp_path / "gearmand.toml"
    toml.write_text("[jobs]\njob-retries = 5\n")

    found = settings_of("--config-file", str(path), "-L", "127.0.0.1")
    both = settings_of(f"--config-file={path}", "--config", str(toml), "-p", "4732")

    assert (found.port, found.listen, found.job_retries) == ("4731", ("127.0.0.1",), 3)
    assert found.exceptions
    assert (both.port, both.listen, both.job_retries) == ("4732", ("10.0.0.1",), 5)


def test_options_file_at_its_usual_place_is_read_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "gearmand.conf"
    monkeypatch.setattr("geartrain.cli.gearmand.DEFAULT_CONFIG_FILE", str(path))

    assert settings_of().job_retries == -1
    path.write_text("-j 3")
    assert settings_of().job_retries == 3
    toml = tmp_path / "gearmand.toml"
    toml.write_text("")
    # Who has a TOML file has moved on.
    assert settings_of("--config", str(toml)).job_retries == -1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("-j x", "the argument ('x') for option '--job-retries' is invalid"),
        ("-p 1 --bogus 5", "unrecognised option '--bogus'"),
        ("-v", "unrecognised option '-v'"),
        ("--port", "the required argument for option '--port' is missing"),
        ("--protocol http", "--protocol http: geartrain speaks no HTTP yet"),
        ("-r foo", "Unknown protocol module : foo"),
        ("\udcff", "Could not open configuration file."),
    ],
)
def test_fault_in_the_options_file_names_the_file(
    tmp_path: Path, text: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gearmand.conf"
    path.write_text(text, errors="surrogateescape")

    assert main(["--config-file", str(path), "--check-args"]) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(path) in said
    assert named in said


def test_descriptors_and_coredump_are_as_asked(start: type[Started]) -> None:
    server = start("-f", "512", "-b", "7", "--coredump")  # type: ignore[arg-type]
    server.wire().close()

    limits = Path(f"/proc/{server.process.pid}/limits").read_text()

    assert re.search(r"^Max open files +512 ", limits, re.MULTILINE)
    assert server.end() == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may raise any limit")
def test_more_descriptors_than_the_system_allows_are_refused_by_name() -> None:
    said = one_line(run("-L", "127.0.0.1", "-p", "0", "-f", "1000000000"))

    assert "cannot set file-descriptors to 1000000000" in said


def test_port_comes_from_the_environment_where_none_is_given() -> None:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "-L", "127.0.0.1"], stderr=subprocess.DEVNULL,
        env=environment(GEARMAND_PORT=str(port)),
    )  # fmt: skip
    try:

        def connect() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        assert wait_until(connect, within=10.0)
    finally:
        process.kill()
        process.wait()


# ── signals, files ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_at_once_with_status_0_and_takes_its_files_away(
    start: type[Started], tmp_path: Path, number: int
) -> None:
    pid_file, path = tmp_path / "pid", tmp_path / "sock"
    server = start("-P", str(pid_file), "-L", f"unix:{path}")  # type: ignore[arg-type]
    wire = server.wire()
    wire.submit(b"f")
    assert pid_file.read_text() == f"{server.process.pid}\n"
    assert path.exists()

    assert server.end(number) == 0

    wire.expect_close()
    wire.close()
    assert not pid_file.exists()
    assert not path.exists()


def test_signal_ends_it_while_it_waits_for_its_queue_and_takes_its_files_away(
    start: type[Started], tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    path = tmp_path / "sock"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://127.0.0.1:{silent.getsockname()[1]}/jobs"
        server = start("--queue", url, "-L", f"unix:{path}")  # type: ignore[arg-type]
        silent.settimeout(patient(20.0))
        with silent.accept()[0]:
            assert path.exists()
            assert server.end() == 0

    assert not path.exists()
    assert "stopping before it has begun" in server.log()


def test_usr1_ends_it_when_the_last_job_is_done(start: type[Started]) -> None:
    server = start()  # type: ignore[call-arg]
    wire = server.wire()
    handle = wire.submit(b"f")
    wire.can_do(b"f")

    server.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: "shutting down gracefully: 1 jobs are left" in server.log())
    assert wire.grab()[0] == handle
    wire.send(13, handle, b"")
    wire.receive()

    assert server.process.wait(patient(10.0)) == 0
    wire.close()


def test_log_goes_on_in_a_new_file_after_hup(start: type[Started], tmp_path: Path) -> None:
    log = tmp_path / "gearmand.log"
    server = start("-l", str(log), "--verbose", "INFO")  # type: ignore[arg-type]
    server.wire().close()
    wait_until(lambda: "listens on" in log.read_text())

    log.rename(tmp_path / "gearmand.log.1")
    server.process.send_signal(signal.SIGHUP)

    wait_until(log.exists)
    assert "listens on" not in log.read_text()
    wait_until(lambda: "SIGHUP, reopening log file" in log.read_text())
    assert server.end() == 0
    assert "stopping" in log.read_text()
    assert "stopping" not in (tmp_path / "gearmand.log.1").read_text()


def test_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(
    start: type[Started], tmp_path: Path
) -> None:
    folder, moved = tmp_path / "log", tmp_path / "moved"
    folder.mkdir()
    server = start("-l", str(folder / "gearmand.log"), "--verbose", "DEBUG")  # type: ignore[arg-type]
    server.wire().close()
    wait_until(lambda: "listens on" in (folder / "gearmand.log").read_text())

    folder.rename(moved)
    server.wire().close()
    server.process.send_signal(signal.SIGHUP)

    wait_until(lambda: "going on in the old one" in (moved / "gearmand.log").read_text())
    server.wire().close()
    assert server.end() == 0
    assert "stopping" in (moved / "gearmand.log").read_text()


def test_pid_file_that_cannot_be_removed_is_told(start: type[Started], tmp_path: Path) -> None:
    log, note = tmp_path / "gearmand.log", tmp_path / "gearmand.pid"
    server = start("-l", str(log), "-P", str(note))  # type: ignore[arg-type]
    server.wire().close()

    note.unlink()
    note.mkdir()
    assert server.end() == 0

    assert f"cannot remove pid file {note}: " in log.read_text()


def test_log_may_be_json(start: type[Started]) -> None:
    server = start("--log-json")  # type: ignore[arg-type]
    server.wire().close()
    server.end()

    rows = [json.loads(line) for line in server.log().splitlines()]

    assert {row["level"] for row in rows} == {"NOTICE"}
    assert f"127.0.0.1:{server.port}" in rows[0]["message"]
    assert rows[-1]["message"] == "stopping"
    assert abs(datetime.now(UTC) - datetime.fromisoformat(rows[0]["time"])) < timedelta(minutes=5)


def test_log_may_be_nothing(start: type[Started]) -> None:
    server = start("-l", "none", "--verbose", "DEBUG")  # type: ignore[arg-type]
    server.wire().close()
    server.end()

    assert server.log() == ""


# ── background ───────────────────────────────────────────────────────────────


def test_daemon_is_ready_when_its_parent_ends(tmp_path: Path) -> None:
    port, pid_file = free_port(), tmp_path / "pid"
    done = run("-d", "-L", "127.0.0.1", "-p", str(port), "-P", str(pid_file), "-l",
               str(tmp_path / "log"))  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int(pid_file.read_text())
    try:
        wire = Wire(("127.0.0.1", port))
        wire.send_bytes(b"getpid\n")
        wire.expect_bytes(b"OK %d\n" % pid)
        wire.close()
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.readlink(f"/proc/{pid}/cwd") == str(Path.cwd())
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists())


def test_daemon_that_cannot_start_says_so_before_its_parent_ends() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        said = one_line(run("-d", "-L", "127.0.0.1", "-p", str(taken.getsockname()[1])))

    assert "the port is in use" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_it_becomes_another_user_once_its_sockets_are_open(start: type[Started]) -> None:
    server = start("-u", "nobody")  # type: ignore[arg-type]
    server.wire().close()
    nobody = pwd.getpwnam("nobody").pw_uid

    wait_until(lambda: Path(f"/proc/{server.process.pid}").stat().st_uid == nobody)

    assert server.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_unix_socket_belongs_to_the_user_whom_the_server_becomes(
    start: type[Started], tmp_path: Path
) -> None:
    path = tmp_path / "sock"
    server = start("-u", "nobody", "-L", f"unix:{path}")  # type: ignore[arg-type]
    server.wire().close()

    entry = pwd.getpwnam("nobody")
    found = path.stat()
    assert (found.st_uid, found.st_gid) == (entry.pw_uid, entry.pw_gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_unix_socket_that_the_new_user_may_not_remove_is_told(
    start: type[Started], tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    path = tmp_path / "sock"
    words = ("-u", "nobody", "-L", f"unix:{path}")
    server = start(*words)  # type: ignore[arg-type]
    # It can be connected to a moment before it is ready to be ended.
    wait_until(lambda: " listens on " in server.log(), within=10.0)

    assert server.end() == 0

    assert f"cannot remove unix socket {path}: Permission denied; it is stale now" in server.log()
    assert path.exists()
    again = start(*words)  # type: ignore[arg-type]
    again.wire().close()  # root has taken it away, as the log promised


# ── systemd ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_of_readiness_of_life_and_of_the_end(
    start: type[Started], tmp_path: Path, abstract: bool
) -> None:
    name = f"\0geartrain-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        manager.settimeout(patient(10.0))
        server = start(  # type: ignore[call-arg]
            NOTIFY_SOCKET=name.replace("\0", "@"), WATCHDOG_USEC="100000"
        )

        first = manager.recv(1000).decode().split("\n")
        second = manager.recv(1000)
        third = manager.recv(1000)
        assert server.end() == 0
        rest: list[bytes] = []
        while not rest or rest[-1] != b"STOPPING=1":
            rest.append(manager.recv(1000))

    assert first[:2] == ["READY=1", f"MAINPID={server.process.pid}"]
    assert second == third == b"WATCHDOG=1"


def test_socket_of_systemds_is_served_and_left_there(tmp_path: Path) -> None:
    path = str(tmp_path / "given")
    starter = (
        "import os, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True)\n"
        "os.environ['LISTEN_PID'] = str(os.getpid()); os.environ['LISTEN_FDS'] = '1'\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'geartrain.cli.gearmand'])\n"
    )
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(path)
        given.listen()
        process = subprocess.Popen(
            [sys.executable, "-c", starter, str(given.fileno())], pass_fds=[given.fileno()],
            stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(patient(10.0))
                client.connect(path)
                client.sendall(b"getpid\n")
                assert client.recv(100) == b"OK %d\n" % process.pid
        finally:
            process.terminate()
            status = process.wait()

    assert status == 0
    assert Path(path).exists()


# ── policies ─────────────────────────────────────────────────────────────────


def test_policies_of_the_file_are_read_anew_after_hup(start: type[Started], tmp_path: Path) -> None:
    config = tmp_path / "gearmand.toml"
    config.write_text('[function."f"]\nattempts = 5\n')
    server = start("--config", str(config))  # type: ignore[arg-type]
    wire = server.wire()
    wire.can_do(b"f")
    wire.submit(b"f", b"x", b"", 18)  # SUBMIT_JOB_BG
    handle = wire.grab()[0]

    config.write_text('[function."f"]\nattempts = 1\ndead = true\n[limits]\nmax-memory = "1G"\n')
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "SIGHUP, changed settings that take a restart: max-memory" in server.log())

    # Its attempt ends under the new policy.
    wire.send(14, handle)  # WORK_FAIL
    wire.grab_none()
    wire.send_bytes(b"dead list\n")
    (line,) = wire.read_list()
    assert json.loads(line)["handle"] == handle.decode()
    wire.close()


def test_a_file_that_is_not_in_order_leaves_the_policies_as_they_are(
    start: type[Started], tmp_path: Path
) -> None:
    config = tmp_path / "gearmand.toml"
    config.write_text('[function."f"]\nattempts = 1\ndead = true\n')
    server = start("--config", str(config))  # type: ignore[arg-type]
    wire = server.wire()

    def told(text: str) -> bool:
        return text in server.log()

    for text, fault in (
        ('[function."f"]\nattempts = 0\n', "attempts: 0 is not valid"),
        ("[function", "is not valid TOML"),
        ("", "SIGHUP, policies: none"),
    ):
        config.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        wait_until(partial(told, fault))
    config.unlink()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: f"cannot read {config}" in server.log())

    assert server.log().count("SIGHUP, policies stay as they are: ") == 3
    wire.close()
    assert server.end() == 0
