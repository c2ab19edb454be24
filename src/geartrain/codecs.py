"""Values <-> workloads.

::

    "bytes"     what it is; text is taken as UTF-8. The raw layer's choice
    "text"      str, as UTF-8
    "json"      JSON, with msgspec where that is installed; same bytes accepted
    "msgpack"   MessagePack (needs msgspec or msgpack)
    Pickle(key) any Python value, signed; see its docstring first
    Signed(inner, key), Compressed(inner)      wrap another codec

``codec_of`` takes any of these, or an object of your own with ``name``, ``encode``
and ``decode``. Modules that only one of them needs are imported there: a client that
sends bytes starts without them.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeAlias

from geartrain.errors import ConfigurationError, DecodeError, EncodeError
from geartrain.plugins import load, names

#: Decompressed, no workload may be larger, unless its codec is told otherwise.
MAX_DECODED_BYTES: Final = 256 * 2**20


class Codec(Protocol):
    """Turns values into workloads and back."""

    @property
    def name(self) -> str:
        """How it is called in settings and messages."""

    def encode(self, value: Any) -> bytes:
        """A value as bytes.

        Raises:
            EncodeError: it cannot be said in this codec.
        """

    def decode(self, data: bytes, type: Any = Any) -> Any:
        """Bytes as a value.

        Args:
            type: what it should be, checked where the codec can (msgspec).

        Raises:
            DecodeError: it is something else.
        """


CodecLike: TypeAlias = str | Codec


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class BytesCodec:
    """Bytes as they are; text as UTF-8."""

    name = "bytes"

    def encode(self, value: Any) -> bytes:
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, (bytearray, memoryview)):
            return bytes(value)
        raise EncodeError(f"{_short(value)} is no bytes; encode it, or choose a codec such as json")

    def decode(self, data: bytes, type: Any = Any) -> Any:
        return data


class TextCodec:
    """Text as UTF-8."""

    name = "text"

    def encode(self, value: Any) -> bytes:
        if isinstance(value, str):
            return value.encode()
        raise EncodeError(f"{_short(value)} is no text; the codec text takes str alone")

    def decode(self, data: bytes, type: Any = Any) -> Any:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"no UTF-8 text: {error}") from error


class JsonCodec:
    """JSON in UTF-8, as compact as it gets. An empty workload is ``null``."""

    name = "json"

    def __init__(self) -> None:
        try:
            import msgspec
        except ImportError:
            self._msgspec: Any = None
        else:
            self._msgspec = msgspec

    def encode(self, value: Any) -> bytes:
        import json

        try:
            if self._msgspec is not None:
                data: bytes = self._msgspec.json.encode(value)
                return data
            return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
        except (TypeError, ValueError, NotImplementedError, RecursionError) as error:
            raise EncodeError(f"{_short(value)} cannot be said in JSON: {error}") from error

    def decode(self, data: bytes, type: Any = Any) -> Any:
        import json

        if not data:
            data = b"null"
        try:
            if self._msgspec is not None:
                return self._msgspec.json.decode(data, type=type)
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"{_short(data)} is not the JSON expected: {error}") from error


class MsgpackCodec:
    """MessagePack. An empty workload is ``nil``."""

    name = "msgpack"

    def __init__(self) -> None:
        self._msgspec: Any = None
        self._msgpack: Any = None
        try:
            import msgspec

            self._msgspec = msgspec
        except ImportError:
            from importlib import import_module

            try:
                self._msgpack = import_module("msgpack")
            except ImportError:
                raise ConfigurationError(
                    "the codec msgpack needs msgspec: pip install 'geartrain[msgspec]'"
                ) from None

    def encode(self, value: Any) -> bytes:
        try:
            if self._msgspec is not None:
                data: bytes = self._msgspec.msgpack.encode(value)
            else:
                data = self._msgpack.packb(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise EncodeError(f"{_short(value)} cannot be packed: {error}") from error
        return data

    def decode(self, data: bytes, type: Any = Any) -> Any:
        if not data:
            return None
        try:
            if self._msgspec is not None:
                return self._msgspec.msgpack.decode(data, type=type)
            return self._msgpack.unpackb(data)
        except Exception as error:
            raise DecodeError(f"{_short(data)} is not the MessagePack expected: {error}") from error


class Signed:
    """Another codec under an HMAC-SHA256: who does not have the key is not listened to.

    The signature stands before the payload (32 bytes) and is checked before the
    payload is looked at. It does not hide anything, and does not keep a recorded
    job from being sent again.
    """

    def __init__(self, inner: CodecLike, key: bytes) -> None:
        if len(key) < 16:
            raise ConfigurationError(f"a signing key of {len(key)} bytes: want 16 or more")
        self._inner = codec_of(inner)
        self._key = bytes(key)
        self.name = f"signed-{self._inner.name}"

    def encode(self, value: Any) -> bytes:
        import hmac

        data = self._inner.encode(value)
        return hmac.digest(self._key, data, "sha256") + data

    def decode(self, data: bytes, type: Any = Any) -> Any:
        import hmac

        signature, payload = data[:32], data[32:]
        if not hmac.compare_digest(signature, hmac.digest(self._key, payload, "sha256")):
            raise DecodeError(
                f"a workload of {len(data)} bytes is not signed with our key; it was not looked at"
            )
        return self._inner.decode(payload, type)


class Compressed:
    """Another codec, deflated where that is worth it.

    The first byte says whether it was: 0 no, 1 zlib.

    Args:
        inner: makes the bytes.
        min_size: smaller ones are left as they are.
        max_size: what claims to be larger is refused: a few bytes can unfold to gigabytes.
    """

    def __init__(
        self, inner: CodecLike, min_size: int = 1024, max_size: int = MAX_DECODED_BYTES
    ) -> None:
        self._inner = codec_of(inner)
        self._min_size = min_size
        self._max_size = max_size
        self.name = f"compressed-{self._inner.name}"

    def encode(self, value: Any) -> bytes:
        import zlib

        data = self._inner.encode(value)
        if len(data) >= self._min_size:
            small = zlib.compress(data)
            if len(small) < len(data):
                return b"\1" + small
        return b"\0" + data

    def decode(self, data: bytes, type: Any = Any) -> Any:
        import zlib

        kind, payload = data[:1], data[1:]
        if kind == b"\1":
            unpacker = zlib.decompressobj()
            try:
                payload = unpacker.decompress(payload, self._max_size)
            except zlib.error as error:
                raise DecodeError(f"no zlib data: {error}") from error
            if unpacker.unconsumed_tail:
                raise DecodeError(f"the workload unfolds to more than {self._max_size} bytes")
            if not unpacker.eof:
                raise DecodeError("the compressed workload ends too early")
        elif kind != b"\0":
            raise DecodeError(f"{_short(data[:20])} was not made by the codec {self.name}")
        return self._inner.decode(payload, type)


class _BarePickle:
    name = "pickle"

    def encode(self, value: Any) -> bytes:
        import pickle

        try:
            return pickle.dumps(value, protocol=5)
        except Exception as error:
            raise EncodeError(f"{_short(value)} cannot be pickled: {error}") from error

    def decode(self, data: bytes, type: Any = Any) -> Any:
        import pickle

        try:
            return pickle.loads(data)  # noqa: S301 - Signed has checked where it comes from
        except Exception as error:
            raise DecodeError(f"cannot be unpickled: {type_name(error)}: {error}") from error


def type_name(value: object) -> str:
    """Name of a value's type."""
    return type(value).__name__


class Pickle(Signed):
    """Any Python value, under an HMAC-SHA256 that is checked before unpickling.

    **Whoever has the key can run any code in your workers and clients**, because
    that is what unpickling means. Without the signature everybody who can reach
    the server could. So there is no name for it that a setting could turn on by
    accident: it takes a key, made with ``secrets.token_bytes(32)``, and kept as a
    secret by clients and workers alike.
    """

    def __init__(self, key: bytes) -> None:
        super().__init__(_BarePickle(), key)
        self.name = "pickle"


_OURS: Final[dict[str, type[Any]]] = {
    "bytes": BytesCodec,
    "text": TextCodec,
    "json": JsonCodec,
    "msgpack": MsgpackCodec,
}
_made: dict[str, Codec] = {}


def codec_of(value: CodecLike) -> Codec:
    """A codec by name, or the codec itself.

    Raises:
        ConfigurationError: no such name, or something that is no codec.
    """
    if not isinstance(value, str):
        if not (hasattr(value, "encode") and hasattr(value, "decode") and hasattr(value, "name")):
            raise ConfigurationError(f"{_short(value)} is no codec: want name, encode and decode")
        return value
    codec = _made.get(value)
    if codec is None:
        maker = _OURS.get(value)
        if maker is None and value == "pickle":
            raise ConfigurationError("pickle needs a key: codec=Pickle(key), not codec='pickle'")
        if maker is None and value not in names("codecs"):
            known = ", ".join([*_OURS, *names("codecs")])
            raise ConfigurationError(f"codec = {value!r}: there is none of that name; want {known}")
        codec = maker() if maker is not None else load("codecs", value)
        _made[value] = codec
    return codec
