"""Changes an input a little: what atheris does with more insight, with chance alone."""

from __future__ import annotations

import random
import struct

#: Numbers at which something often ends.
EDGES = (0, 1, 5, 11, 12, 43, 64, 65, 255, 256, 8191, 8192, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MOST_BYTES = 20_000


def mutate(
    chance: random.Random, data: bytes, others: list[bytes], words: tuple[bytes, ...]
) -> bytes:
    """``data`` with one to eight changes."""
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        at = chance.randint(0, len(data))
        end = min(len(data), at + chance.choice([0, 1, 1, 2, 4, 12, 100]))
        what = chance.randrange(9)
        if what == 0:
            data = data[:at] + data[end:]
        elif what == 1:
            data = data[:at] + chance.randbytes(chance.choice([1, 1, 4, 20])) + data[end:]
        elif what == 2 and words:
            data = data[:at] + chance.choice(words) + data[end:]
        elif what == 3:
            data = data[:at] + data[at:end] * chance.choice([2, 3, 50]) + data[end:]
        elif what == 4:
            data = data[:at] + struct.pack(">I", chance.choice(EDGES)) + data[at + 4 :]
        elif what == 5:
            other = chance.choice(others)
            start = chance.randint(0, len(other))
            data = data[:at] + other[start : start + chance.choice([10, 100, 1000])] + data[end:]
        elif what == 6:
            data = data[:at] + b"%d" % chance.choice(EDGES) + data[end:]
        elif what == 7:
            data = (
                data[:at] + chance.choice([b"\0", b"\n", b"\r\n", b" ", b"\xff", b"-"]) + data[at:]
            )
        elif at < len(data):
            data = data[:at] + bytes((data[at] ^ (1 << chance.randrange(8)),)) + data[at + 1 :]
    return data[:MOST_BYTES]
