"""Encoders: objects <-> the data of jobs."""

from __future__ import annotations

from typing import Any


class DataEncoder:
    """Derive from it, and name the class as ``data_encoder`` of a client or worker.

    ``encode`` gives text or bytes; ``decode`` is given bytes.
    """

    @classmethod
    def encode(cls, encodable_object: Any) -> Any:
        """An object as data."""
        raise NotImplementedError

    @classmethod
    def decode(cls, decodable_string: Any) -> Any:
        """Data as an object."""
        raise NotImplementedError


class NoopEncoder(DataEncoder):
    """Text, as Python 2 had it: UTF-8, and any other byte as a surrogate."""

    @classmethod
    def encode(cls, encodable_object: Any) -> bytes:
        """Text or bytes as data; anything that can be gone through as well (``reversed(text)``).

        Raises:
            TypeError: something else.
        """
        return to_bytes(encodable_object)

    @classmethod
    def decode(cls, decodable_string: Any) -> str:
        """Data as text."""
        return bytes(decodable_string).decode("utf-8", "surrogateescape")


class BytesDataEncoder(NoopEncoder):
    """Bytes as they are."""

    @classmethod
    def decode(cls, decodable_string: Any) -> Any:
        """The data itself."""
        return decodable_string


def to_bytes(value: Any) -> bytes:
    """What an encoder or a user gave, as bytes.

    Raises:
        TypeError: it is neither text nor bytes, nor made of either.
    """
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if hasattr(value, "__iter__") and not isinstance(value, (dict, set)):
        pieces = list(value)
        if all(isinstance(piece, int) for piece in pieces):
            return bytes(pieces)
        if all(isinstance(piece, str) for piece in pieces):
            return to_bytes("".join(pieces))
    raise TypeError(
        f"expected text or bytes as data, got {value!r:.60}; set data_encoder for objects"
    )
