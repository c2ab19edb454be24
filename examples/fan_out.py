"""asyncio on both sides: a worker with many slow jobs at once, and a client that fans out.

    gearman-worker fan_out:app --concurrency 100 &
    python fan_out.py

One process has a hundred of them under way.
"""

from __future__ import annotations

import asyncio
import time

import geartrain

app = geartrain.App("slow")


@app.function
async def fetch(url: str, seconds: float = 0.2) -> int:
    await asyncio.sleep(seconds)  # stands for the network
    geartrain.current_job().send_status(1, 1)
    return len(url)


async def main() -> None:
    urls = [f"https://example.org/{n}" for n in range(50)]
    start = time.perf_counter()
    async with app:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(fetch.aio.do(url)) for url in urls]
        print(f"{len(calls)} pages, {sum(call.result() for call in calls)} bytes, all at once")

        # Or bounded, as an async iterator.
        sizes = [size async for size in fetch.aio.map(urls, window=10)]
        print(f"{len(sizes)} pages, ten at a time: {time.perf_counter() - start:.1f} s in all")


if __name__ == "__main__":
    asyncio.run(main())
