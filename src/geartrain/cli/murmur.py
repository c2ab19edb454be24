"""The hash that libgearman makes a unique key of."""

from __future__ import annotations

from typing import Final

#: libhashkit multiplies this with the length to get the seed.
SEED: Final = 0xDEADBEEF


def murmur3(data: bytes) -> int:
    """MurmurHash3 (x86, 32 bits) as libgearman seeds it: what ``-u '#'`` makes of a workload."""
    mask = 0xFFFFFFFF
    h = SEED * len(data) & mask
    tail = len(data) & ~3
    for at in range(0, tail, 4):
        k = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & mask
        k = (k << 15 | k >> 17) & mask
        h ^= k * 0x1B873593 & mask
        h = (h << 13 | h >> 19) & mask
        h = (h * 5 + 0xE6546B64) & mask
    if tail < len(data):
        k = int.from_bytes(data[tail:], "little") * 0xCC9E2D51 & mask
        k = (k << 15 | k >> 17) & mask
        h ^= k * 0x1B873593 & mask
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16
