"""The readers of geartrain, each as a function of bytes."""

from __future__ import annotations

import contextlib
import io
import struct
import tempfile
from pathlib import Path

from fuzz.target import target
from geartrain.broker.broker import Broker
from geartrain.broker.handles import HandleMaker
from geartrain.broker.invariants import check
from geartrain.broker.state import Rules
from geartrain.broker.tables import Peer
from geartrain.cli import gearman_options, lines, options
from geartrain.cli.gearmand import build_parser, read_settings
from geartrain.client.connection import ClientConnection
from geartrain.codecs import Compressed, JsonCodec, Signed, TextCodec
from geartrain.errors import CodecError, ConfigurationError, ProtocolError
from geartrain.frontends.gear import GearConnection
from geartrain.frontends.port import Bounds, House
from geartrain.protocol.commands import COMMANDS
from geartrain.protocol.packets import encode, encode_request, encode_response
from geartrain.protocol.reader import LINE, NOTHING, PacketReader
from geartrain.server.listener import port_number, split_address
from geartrain.server.settings import Settings
from geartrain.server.settings_file import read_toml
from geartrain.stores.port import StoreRefused
from geartrain.stores.url import StoreUrl
from geartrain.transport.address import parse_servers
from geartrain.worker.connection import WorkerConnection

_REQUESTS = tuple(encode_request(number, b"f", b"u", b"w") for number in sorted(COMMANDS))
_ANSWERS = tuple(
    encode_response(number, b"H:1", b"f", b"1", b"2", b"3") for number in sorted(COMMANDS)
)
_HEADS = tuple(encode_request(number)[:8] for number in range(44))
_ADMIN = tuple(
    b"status|workers|version|getpid|verbose|prioritystatus|show jobs|show unique jobs|jobs|"
    b"cancel job H:t:1|create function f|drop function f|maxqueue f 1 2 3|shutdown graceful".split(
        b"|"
    )
)


# ── protocol ─────────────────────────────────────────────────────────────────


def _read_stream(pieces: list[bytes]) -> tuple[list[tuple[int, int, bytes]], str]:
    """All that is read, and the error that ended it."""
    reader = PacketReader(True, 5_000, 200)
    found: list[tuple[int, int, bytes]] = []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (kind := reader.next()) != NOTHING:
                found.append(
                    (LINE, 0, reader.line) if kind == LINE else (kind, reader.number, reader.body)
                )
    except ProtocolError as error:
        return found, type(error).__name__
    return found, ""


@target(
    "a byte stream, whole and cut in two ways: the same must be read",
    seeds=(b"".join(_REQUESTS), b"status\n" + _REQUESTS[0] + b"version\r\n"),
    words=(*_HEADS, b"\0REQ", b"\0RES", *_ADMIN),
)
def reader(data: bytes) -> None:
    whole = _read_stream([data])
    cut = 1 + (data[0] if data else 0)
    for size in (cut, 1 if len(data) < 500 else 97):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert _read_stream(pieces) == whole, f"cut into pieces of {size}, something else is read"


# ── a server ─────────────────────────────────────────────────────────────────


class _House(House):
    def shut_down(self, graceful: bool) -> None:
        pass

    def turn_away(self, peer: Peer, text: str) -> None:
        assert peer.number >= 0
        assert "TLS" in text


def _house() -> _House:
    rules = Rules()
    rules.max_functions = 30
    bounds = Bounds()
    bounds.max_packet_bytes = 10_000
    bounds.pause_output_bytes = 3_000
    house = _House(Broker(rules, HandleMaker(b"H:t:")), bounds)
    house.may_shut_down = True
    house.broker.tick(1_700_000_000.0, 1_000.0)
    return house


def _heard(data: bytes) -> int:
    """How many answers these are; all must be whole, and what a server may say."""
    count = 0
    while data:
        count += 1
        if data[0]:
            _, end, data = data.partition(b"\n")
            assert end, "a line without an end was sent"
            continue
        magic, number, size = struct.unpack(">4sII", data[:12])
        assert magic == b"\0RES"
        assert COMMANDS[number].sender & 4, f"a server may not send {number}"
        assert len(data) >= 12 + size, "half a packet was sent"
        data = data[12 + size :]
    return count


#: Stands for the last handle that was given out: as long as every handle here.
_HANDLE = b"@" * 20


def _turn(who: int, *packets: bytes) -> bytes:
    """One peer says all this in one turn."""
    said = b"".join(packets)
    size = (len(said) + 3) // 4
    return bytes((who, size)) + said.ljust(size * 4, b"\n")


_ROUND = b"".join(
    (
        _turn(1, encode_request(1, b"f"), encode_request(4)),
        _turn(2, encode_request(26, b"exceptions"), encode_request(7, b"f", b"u", b"w")),
        _turn(3, encode_request(18, b"f", b"u", b"w"), b"status\nshow jobs\n"),
        _turn(1, encode_request(39)),
        _turn(1, encode_request(12, _HANDLE, b"1", b"2"), encode_request(28, _HANDLE, b"data")),
        _turn(2, encode_request(15, _HANDLE), encode_request(41, b"u")),
        _turn(1, encode_request(25, _HANDLE, b"boom"), encode_request(14, _HANDLE)),
        _turn(3, encode_request(36, b"f", b"v", b"1700001001", b"w"), b"maxqueue f 2\n"),
        _turn(1, encode_request(23, b"f", b"500"), encode_request(9), encode_request(4)),
        _turn(1, encode_request(3), encode_request(4), encode_request(1, b"g")),
    )
)


@target(
    "what several peers say to a server: a byte who, a byte how much (times four), the bytes",
    seeds=(_ROUND, b"".join(_turn(at % 3, one) for at, one in enumerate(_REQUESTS))),
    words=(
        *(_turn(who, one) for one in _REQUESTS for who in (1, 2)),
        _turn(249),
        _turn(255),
        *_HEADS,
        *(line + b"\n" for line in _ADMIN),
        _HANDLE,
        b"exceptions",
    ),
)
def gear(data: bytes) -> None:
    house = _house()
    broker = house.broker
    touched: list[GearConnection] = []
    peers: dict[int, GearConnection] = {}
    number, now, at, turns = 10, 1_000.0, 0, 0
    handle = _HANDLE
    while at + 2 <= len(data) and turns < 200:
        who, size = data[at] % 8, data[at + 1] * 4
        piece = data[at + 2 : at + 2 + size]
        at += 2 + size
        turns += 1
        if data[at - size - 2] >= 250:
            now += 0.5
            broker.tick(1_700_000_000.0 + now, now)
        peer = peers.get(who)
        if peer is not None and data[at - size - 2] >= 240:
            broker.leave(peer)
            peer.hang_up()
            del peers[who]
        else:
            if peer is None:
                number += 1
                peer = GearConnection(number, house, touched)
                broker.join(peer)
                peers[who] = peer
            if not peer.held_back and not peer.closing:
                peer.receive_data(piece.replace(_HANDLE, handle))
        broker.end_turn()
        handle = next(reversed(broker.state.jobs), handle)
        for one in peers.values():
            assert one.out_bytes == sum(map(len, one.out))
            _heard(b"".join(one.out))
            one.out.clear()
            one.out_bytes = 0
            one.resume()
        touched.clear()
        broker.end_turn()
        check(broker.state)
    for peer in peers.values():
        broker.leave(peer)
    check(broker.state)
    assert not broker.state.crews


@target(
    "lines of the admin text protocol: each is answered",
    seeds=tuple(line + b"\n" for line in _ADMIN),
    words=_ADMIN + tuple(b" ".join(_ADMIN).split()),
)
def admin(data: bytes) -> None:
    house = _house()
    peer = GearConnection(10, house, [])
    house.broker.join(peer)
    for line in data.split(b"\n"):
        if line[:1] == b"\0" or len(line) > 8_000:
            continue
        peer.receive_data(line + b"\n")
        while peer.held_back:
            peer.out_bytes = 0
            peer.resume()
        said = b"".join(peer.out)
        assert said.endswith(b"\n"), f"{line!r} is answered with {said!r}"
        peer.out.clear()
        peer.out_bytes = 0
    check(house.broker.state)


@target(
    "a settings file",
    allowed=(ConfigurationError,),
    seeds=(
        b'[listen]\nport = 4731\nlisten = ["::1"]\n[limits]\nmax-memory = "2GiB"\n'
        b'packet-timeout = 1.5\n[jobs]\nexceptions = true\n[log]\nverbose = "INFO"\n',
    ),
    words=(b"inf", b"nan", b"'", b'"""', b"[[", b"]]", b"=", b"1e999", b"-1", b"1979-05-27", b"{}"),
)
def settings_file(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".toml") as file:
        file.write(data)
        file.flush()
        found = Settings(**read_toml(file.name))  # type: ignore[arg-type]
    for text in found.listen:
        if not text.startswith("unix:"):
            split_address(text, found.port)
    port_number(found.port)


@target(
    "the command line of gearmand, words separated by spaces",
    allowed=(ConfigurationError, SystemExit),
    seeds=(b"-d -p 4730 -L [::1]:5 --max-memory 2GiB -j 3 --verbose INFO",),
    words=(b"--config", b"--listen=", b"-p", b"--", b"-", b"--max-packet-bytes", b"1e9", b"10s"),
)
def gearmand_options(data: bytes) -> None:
    words = data.decode("utf-8", "surrogateescape").split(" ")
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        settings = read_settings(build_parser().parse_args(words))
    for text in settings.listen:
        split_address(text, settings.port)


# ── the client's side ────────────────────────────────────────────────────────


@target(
    "what a server says to a client that has asked for everything",
    allowed=(ProtocolError,),
    seeds=(b"".join(_ANSWERS), b"OK 1.1.20\n.\n" + _ANSWERS[0], b"f\t1\t2\t3\n.\n"),
    words=(*_ANSWERS, *(head.replace(b"REQ", b"RES") for head in _HEADS), b"\n.\n", b"ERR x\n"),
)
def client(data: bytes) -> None:
    connection = ClientConnection(max_packet_bytes=10_000)
    for unique in (b"", b"u"):
        connection.submit(b"f", unique, b"w")
    connection.echo(b"x")
    connection.get_status(b"H:1")
    connection.get_status_unique(b"u")
    connection.admin(b"status")
    connection.admin(b"version")
    connection.data_to_send()
    size = 1 + (data[0] if data else 0)
    try:
        for at in range(0, len(data), size):
            connection.receive_data(data[at : at + size])
    finally:
        connection.receive_eof("the end")
    assert not connection.receive_eof("once more")


@target(
    "what a server says to a worker that wants two jobs",
    allowed=(ProtocolError,),
    seeds=(b"".join(_ANSWERS), _ANSWERS[6] + _ANSWERS[9] + b"OK 1.1.20\n"),
    words=(*_ANSWERS, *(head.replace(b"REQ", b"RES") for head in _HEADS), b"OK 1.1.18\n"),
)
def worker(data: bytes) -> None:
    connection = WorkerConnection(max_packet_bytes=10_000)
    connection.can_do(b"f", 1000)
    connection.want(2)
    size = 1 + (data[0] if data else 0)
    now = 0.0
    try:
        for at in range(0, len(data), size):
            connection.receive_data(data[at : at + size])
            connection.data_to_send()
            for handle in connection.handles:
                connection.complete(handle, b"")
            now += 1.0
            connection.tick(now)
            deadline = connection.next_deadline()
            assert deadline is None or deadline >= 0.0
    finally:
        connection.receive_eof()
    assert connection.running == 0


@target(
    "a list of servers, as people write it",
    allowed=(ConfigurationError,),
    seeds=(b"localhost:4730,[::1]:4731,unix:/run/g.sock,gearmans://h.example:1",),
    words=(b"[", b"]", b":", b",", b"unix:", b"gearmans://", b"::1", b"65536"),
)
def servers(data: bytes) -> None:
    for address in parse_servers(data.decode("utf-8", "replace"), {}):
        assert parse_servers(str(address), {}) == (address,)


@target(
    "the place of a store",
    allowed=(StoreRefused, ConfigurationError),
    seeds=(b"sqlite:///var/lib/g.db?wait=10s&cache=64M", b"postgres://u:p@h/db", b"memory"),
    words=(b"://", b"?", b"&", b"=", b"%", b"@", b"10s", b"yes"),
)
def store_place(data: bytes) -> None:
    place = StoreUrl.parse(data.decode("utf-8", "replace"))
    place.seconds("wait", 1.0)
    place.size("cache", 1)
    place.flag("on")


@target(
    "the command line of gearman",
    allowed=(options.UsageError,),
    seeds=(b"-nbf name -p4730 -- ls -l", b"-w -f wc --jobs 3 wc -c", b"--window=3 --retries 2 x"),
    words=(b"-f", b"--", b"-n", b"--window", b"=", b"-h", b"--re"),
)
def gearman_words(data: bytes) -> None:
    words = data.decode("utf-8", "surrogateescape").split(" ")
    parsed = options.parse(gearman_options.TABLE, words)
    options.whole(parsed, "window", 1)
    options.size(parsed, "batch-bytes", 1)
    options.seconds(parsed, "timeout", 1.0)


@target(
    "lines of standard input: cut any way, they are the same",
    seeds=(b"a\nbb\n\nccc", b"\n" * 50),
)
def input_lines(data: bytes) -> None:
    if not data:
        return  # nobody feeds nothing: that is the end
    whole, pieces = lines.Lines(), lines.Lines()
    size = 1 + data[0]
    expected = whole.feed(data) + whole.end()
    found = [line for at in range(0, len(data), size) for line in pieces.feed(data[at : at + size])]
    assert found + pieces.end() == expected
    assert b"".join(expected) == data


@target(
    "workloads that somebody else has encoded",
    allowed=(CodecError,),
    seeds=(b'{"a": [1, 2.5, null, "x"]}', Compressed("json").encode({"a": 1}), b"text"),
    words=(b"NaN", b"Infinity", b"[" * 100, b"1e999", b"\\ud800"),
)
def workloads(data: bytes) -> None:
    for codec in (JsonCodec(), TextCodec(), Compressed("json", max_size=10_000),
                  Signed("text", b"k" * 16)):  # fmt: skip
        with contextlib.suppress(CodecError):
            codec.decode(data)


# ── both ends ────────────────────────────────────────────────────────────────


@target(
    "arguments of any bytes, from a client's packet to a worker's and back",
    seeds=(b"f|u|w", b"reverse||\0\0"),
    words=(b"|", b"-", b"\0"),
)
def round_trip(data: bytes) -> None:
    parts = (data.split(b"|", 2) + [b"", b"", b""])[:3]
    name, unique = (part.replace(b"\0", b"")[:64] for part in parts[:2])
    house = _house()
    one, other = GearConnection(1, house, []), GearConnection(2, house, [])
    for peer in (one, other):
        house.broker.join(peer)
    one.receive_data(encode(b"\0REQ", 7, name, unique, parts[2][:9_000]))
    handle = b"".join(one.out)[12:]
    other.receive_data(encode_request(1, name) + encode_request(30))
    assigned = b"".join(other.out)[12:]
    assert assigned == b"\0".join([handle, name, unique, parts[2][:9_000]])


def path_of(name: str) -> Path:
    """Where a find of this target is kept."""
    return Path(__file__).resolve().parent.parent / "build" / "fuzz" / name
