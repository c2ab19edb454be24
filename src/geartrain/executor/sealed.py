"""Calls and their answers as bytes: pickled, and signed on both ways.

::

    call    signature (32 bytes) + pickle of (fn, args, kwargs)
    answer  signature (32 bytes) + pickle of the result
    fault   text for people, NUL, signature, pickle of the exception

An answer is signed with a key made of the secret *and* of its call, so that the
answer to one call is no answer to another, and neither can be taken for a call.
Nothing is hidden by this, and a recorded call can be sent again.
"""

from __future__ import annotations

import hmac
import pickle
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from geartrain.errors import ConfigurationError, DecodeError, EncodeError

SIGNATURE_BYTES: Final = 32
MIN_KEY_BYTES: Final = 16
_FAULT: Final = b"\n\0"


class Seal:
    """Signs and checks, with one secret.

    Args:
        key: the secret, 16 bytes or more; white space around it, as files have it, is
            not part of it.
        serializer: ``pickle`` (functions by reference) or ``cloudpickle`` (lambdas,
            closures and ``__main__`` by value).

    Raises:
        ConfigurationError: the key is too short, or cloudpickle is not installed.
    """

    def __init__(self, key: bytes, serializer: str = "pickle") -> None:
        if not isinstance(key, (bytes, bytearray)):
            raise ConfigurationError(f"key is a {type(key).__name__}: want bytes")
        key = bytes(key).strip()
        if len(key) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"a key of {len(key)} bytes: want {MIN_KEY_BYTES} or more, as "
                f"secrets.token_bytes(32) makes them"
            )
        self._call_key = hmac.digest(key, b"geartrain call", "sha256")
        self._answer_key = hmac.digest(key, b"geartrain answer", "sha256")
        self._dumps = dumps_of(serializer)

    def call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> bytes:
        """A call, to be sent.

        Raises:
            EncodeError: something in it cannot be pickled.
        """
        try:
            data = self._dumps((fn, args, kwargs))
        except Exception as error:
            raise EncodeError(
                f"{fn!r} with its arguments cannot be pickled: {error}; functions have to be in a "
                f"module that workers can import, or take serializer='cloudpickle'"
            ) from error
        return hmac.digest(self._call_key, data, "sha256") + data

    def open_call(self, sealed: bytes) -> tuple[Callable[..., Any], Any, Any]:
        """``(fn, args, kwargs)``.

        Raises:
            DecodeError: not signed with our key (then nothing was unpickled), or what
                was signed cannot be unpickled here.
        """
        fn, args, kwargs = _load(_checked(self._call_key, sealed, "a call"), "the call")
        return fn, args, kwargs

    def answer(self, call: bytes, value: Any) -> bytes:
        """The result of a call, to be sent back.

        Raises:
            EncodeError: it cannot be pickled.
        """
        try:
            data = self._dumps(value)
        except Exception as error:
            raise EncodeError(f"the result cannot be pickled: {error}") from error
        return hmac.digest(self._key_for(call), data, "sha256") + data

    def open_answer(self, call: bytes, sealed: bytes) -> Any:
        """The result.

        Raises:
            DecodeError: not signed for this call, or it cannot be unpickled here.
        """
        return _load(_checked(self._key_for(call), sealed, "an answer"), "the result")

    def fault(self, call: bytes, text: bytes, error: BaseException) -> bytes:
        """An exception, to be sent back; its text alone if it cannot be pickled."""
        try:
            data = self._dumps(error)
            pickle.loads(data)  # noqa: S301 -- ours, to see whether it can be done at all
        except Exception:
            return text
        return text + _FAULT + hmac.digest(self._key_for(call), data, "sha256") + data

    def open_fault(self, call: bytes, sealed: bytes) -> tuple[bytes, BaseException | None]:
        """The text, and the exception if it came along, signed for this call."""
        text, mark, rest = sealed.partition(_FAULT)
        if not mark:
            return text, None
        try:
            error = _load(_checked(self._key_for(call), rest, "an exception"), "the exception")
        except DecodeError:
            return text, None
        return text, error if isinstance(error, BaseException) else None

    def _key_for(self, call: bytes) -> bytes:
        return hmac.digest(self._answer_key, blake2b(call).digest(), "sha256")


def _checked(key: bytes, sealed: bytes, what: str) -> bytes:
    signature, data = sealed[:SIGNATURE_BYTES], sealed[SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, hmac.digest(key, data, "sha256")):
        raise DecodeError(
            f"{what} of {len(sealed)} bytes is not signed with our key; it was not unpickled"
        )
    return data


def _load(data: bytes, what: str) -> Any:
    try:
        return pickle.loads(data)  # noqa: S301 -- signed by somebody who has the key
    except Exception as error:
        kind = type(error).__name__
        raise DecodeError(f"{what} cannot be unpickled here: {kind}: {error}") from error


def dumps_of(serializer: str) -> Callable[[Any], bytes]:
    """What pickles.

    Raises:
        ConfigurationError: unknown, or not installed.
    """
    if serializer == "pickle":
        return lambda value: pickle.dumps(value, protocol=5)
    if serializer != "cloudpickle":
        raise ConfigurationError(f"serializer = {serializer!r}: want pickle or cloudpickle")
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError:
        raise ConfigurationError(
            "the serializer cloudpickle is not installed: pip install 'geartrain[executor]'"
        ) from None
    dumps: Callable[[Any], bytes] = cloudpickle.dumps
    return dumps
