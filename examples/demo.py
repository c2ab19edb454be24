"""The main job, for real: a server, workers, clients, results.

    make demo

Every command is shown as you would type it, with what it prints. Ends with status 1
if anything did not come out as it should.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).resolve().parent
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
PATIENCE = float(os.environ.get("GEARTRAIN_PATIENCE", "1"))


def paint(code: str, text: str) -> str:
    """The text in colour, where somebody looks."""
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


class Failure(Exception):
    """There is no point in going on."""


class Demo:
    """Runs commands, shows them, and remembers what went wrong."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.faults: list[str] = []
        self.running: list[subprocess.Popen[bytes]] = []
        self.environ = dict(os.environ)
        scripts = str(Path(sys.executable).parent)
        self.environ["PATH"] = scripts + os.pathsep + self.environ.get("PATH", os.defpath)
        self.environ.pop("GEARMAN_SERVER", None)
        self.environ["GEARMAN_SERVERS"] = f"127.0.0.1:{port}"

    def title(self, text: str) -> None:
        print("\n" + paint("1;36", f"── {text} " + "─" * max(0, 68 - len(text))), flush=True)

    def show(self, command: str) -> None:
        print(paint("1", f"$ {command}"), flush=True)

    def start(self, command: str, show: str = "") -> None:
        """Start a command that stays: a server, a worker."""
        self.show((show or command) + " &")
        self.running.append(
            subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=self.folder,
                env=self.environ,
                start_new_session=True,
            )
        )

    def run(self, command: str, wants: str = "", status: int = 0, quiet: bool = False) -> str:
        """Run a command to its end, show what it prints, and compare it with what it should."""
        if not quiet:
            self.show(command)
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                cwd=self.folder,
                env=self.environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60 * PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"{command}: no end in sight") from None
        text = done.stdout.decode("utf-8", "replace")
        if not quiet:
            sys.stdout.write("".join(f"  {line}\n" for line in text.splitlines()))
            sys.stdout.flush()
            if done.returncode != status:
                self.fault(f"{command}: ended with status {done.returncode}, not {status}")
            if wants and text != wants:
                self.fault(f"{command}: printed {text!r}, not {wants!r}")
        return text

    def fault(self, text: str) -> None:
        self.faults.append(text)
        print(paint("31", f"  wrong: {text}"), flush=True)

    def until(self, command: str, sign: str) -> None:
        """Wait until a command prints what shows that things are ready."""
        end = time.monotonic() + 20 * PATIENCE
        while sign not in self.run(command, quiet=True):
            if time.monotonic() > end or any(p.poll() is not None for p in self.running):
                raise Failure(f"{command} never showed {sign!r}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End everything that was started, the server last."""
        while self.running:
            process = self.running.pop()
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=10 * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                self.fault(f"{process.args!r} did not end when asked to")


def free_port() -> int:
    """Not 4730: workers that wait for their own server there would join in."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def draw(path: Path) -> None:
    """A picture to make smaller: gears, of course."""
    picture = Image.new("RGB", (1600, 1200), "#20242c")
    pen = ImageDraw.Draw(picture)
    for x, y, size, colour in ((520, 620, 330, "#e0a030"), (1090, 520, 240, "#5aa0d0")):
        pen.regular_polygon((x, y, size), 12, fill=colour)
        pen.regular_polygon((x, y, size), 12, rotation=15, fill=colour)
        pen.ellipse((x - size // 3, y - size // 3, x + size // 3, y + size // 3), fill="#20242c")
    picture.save(path, "JPEG", quality=95)


def play(demo: Demo, port: int) -> None:
    """The whole evening."""
    demo.title("a job server")
    demo.start(f"gearmand -p {port} -L 127.0.0.1 --log-file gearmand.log")
    demo.show(f"export GEARMAN_SERVERS=127.0.0.1:{port}  # where it is, for all that follows")
    demo.until("gearadmin --getpid", "\n")

    demo.title("workers: a Python program, and two commands you have")
    workers = shlex.quote(str(HERE / "demo_workers.py"))
    python = shlex.quote(sys.executable)
    demo.start(f"{python} {workers}", show="python examples/demo_workers.py")
    demo.start("gearman -w -f count -- wc -l")
    demo.start("gearman -w -f find -j 2 -- grep lib")
    for name in ("reverse", "resize", "count", "find"):
        demo.until("gearadmin --workers", name)

    demo.title("clients: an operand, a pipe, a file")
    demo.run("gearman -f reverse 'Hello, Gearman!'; echo", wants="!namraeG ,olleH\n")
    (demo.folder / "list").write_text("bin\nlib\nlib64\nusr\nvar\n")
    demo.run("cat list | gearman -f find", wants="lib\nlib64\n")
    demo.run("gearman -f count < list", wants="5\n")

    demo.title("a picture")
    draw(demo.folder / "large.jpg")
    demo.run("gearman -f resize < large.jpg > thumb.jpg")
    for name in ("large.jpg", "thumb.jpg"):
        with Image.open(demo.folder / name) as picture:
            size = (demo.folder / name).stat().st_size
            print(f"  {name}: {picture.width} x {picture.height}, {size:,} bytes")
    if picture.size != (96, 72):
        demo.fault("that is not the thumbnail")

    demo.title("a job that tells how far it is")
    demo.run(
        r"printf 'one\ntwo\nthree\n' | gearman -f shout",
        wants="ONE\n33% Complete\nTWO\n66% Complete\nTHREE\n100% Complete\n",
    )

    demo.title("many lines at once: one job each, results in order")
    demo.run("seq 2000 | gearman -N -k -f reverse --progress --joblog jobs.log > reversed")
    demo.run("tail -c 16 reversed; echo", wants="7991899199910002\n")
    demo.run("tail -n 2 jobs.log | cut -f 1,2,9", wants="1999\treverse\tok\n2000\treverse\tok\n")

    demo.title("in the background: the server keeps the jobs until somebody does them")
    demo.run("seq 1000 | gearman -b -n --batch-lines 100 -f later")
    demo.run("gearadmin --status")
    demo.start("gearman -w -c 10 -f later -- wc -l")
    demo.until("gearadmin --status", "later\t0\t0\t")
    demo.run("gearadmin --status --priority-status")

    demo.title("a job that fails says so")
    demo.start("gearman -w -f picky -- sh -c 'echo no thanks >&2; exit 3'")
    demo.run("gearman -f picky anything; echo status $?")


def main() -> int:
    """Run the demo; return 0 if all of it came out right."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that all is stopped then too
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="geartrain-demo-") as name:
        demo = Demo(Path(name), port)
        try:
            play(demo, port)
        except Failure as failure:
            demo.fault(str(failure))
        finally:
            demo.stop()
        demo.title("the end")
        if demo.faults:
            print(paint("1;31", f"{len(demo.faults)} things went wrong:"))
            for fault in demo.faults:
                print(f"  {fault}")
            log = Path(name) / "gearmand.log"
            if log.exists():
                print("gearmand.log:\n" + log.read_text())
            return 1
    print(paint("1;32", "everything stopped; all went well"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
