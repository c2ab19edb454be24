"""The distributed fork: any function, on any machine, as with concurrent.futures.

    head -c 32 /dev/urandom | base64 > key
    gearman-worker geartrain.executor --key-file key --processes 4 &
    python executor.py key

Whoever has the key can run any code in the workers: keep it as you keep passwords.
"""

from __future__ import annotations

import concurrent.futures
import math
import sys
from pathlib import Path

from geartrain.executor import GearmanExecutor


def main(key: bytes) -> None:
    with GearmanExecutor(key=key, pure=True) as pool:
        futures = {pool.submit(math.factorial, n): n for n in range(1, 11)}
        for future in concurrent.futures.as_completed(futures):
            print(f"{futures[future]}! = {future.result()}")

        print(sum(pool.map(math.isqrt, range(10_000), chunksize=500)))

        try:
            pool.submit(math.sqrt, -1).result()
        except ValueError as error:
            print(f"{error!r}, as if it had been here; {error.__notes__[0].splitlines()[-1]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_bytes())
