"""How fast the stores are: rows by batch size, acks as a server would see them, depth.

    python -m benchmarks.bench_stores [--store sqlite|memory|postgresql://...] [--part batches]
        [--folder DIR] [--seconds 1.5] [--rows 1000000]

Parts:

* ``batches``: commits of 1, 10, 100, 1,000 jobs of 200 bytes, one after another,
  and the same rows ended; beside it one ``fdatasync`` of this disk, which no
  durable commit can beat;
* ``acks``: N submitters, each with one job in flight, and one writer that takes
  whatever waits: what clients of a server see;
* ``depth``: many rows: to fill, to open again, to claim from, and the memory held.

What the figures do not say: there are no sockets and no broker here, engine and
client share the cores, and a disk with a write cache answers for what it holds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from geartrain.stores import registry
from geartrain.stores.ids import JobIds
from geartrain.stores.port import Add, Ending, JobId, Placement, QueueKey, QueueStore, StoredJob

QUEUE = QueueKey("", b"resize", 1)
BODY = bytes(range(200))
SIZES = (1, 10, 100, 1000)

Make = Callable[[], QueueStore]


def fdatasync_ms(folder: Path) -> float:
    """Median of writing 4 KiB and waiting for the disk, in milliseconds."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        took = []
        for _ in range(200):
            began = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


async def opened(make: Make) -> tuple[QueueStore, JobIds]:
    store = make()
    lease = await store.open("bench", 60, takeover=True)
    return store, JobIds(lease, time.time)


def jobs(ids: JobIds, count: int, keyed: bool = False) -> list[Add]:
    made = []
    for _ in range(count):
        id = ids.next()
        key = b"%d" % id if keyed else None
        job = StoredJob(id, QUEUE, BODY, key or b"", key)
        made.append(Add(job, Placement.MINE))
    return made


async def batches(make: Make, seconds: float) -> None:
    print("batch      adds/s  (ms, p50/p99)      ends/s  (ms, p50)   keyed adds/s   our CPU us/job")
    for size in SIZES:
        store, ids = await opened(make)
        took: list[float] = []
        done: list[JobId] = []
        end = time.perf_counter() + seconds
        busy = time.process_time()
        while (began := time.perf_counter()) < end:
            adds = jobs(ids, size)
            await store.commit(adds, [], [])
            took.append(time.perf_counter() - began)
            done += [add.job.id for add in adds]
        added = len(done) / sum(took)
        ended: list[float] = []
        for at in range(0, len(done), size):
            ends = [Ending(id) for id in done[at : at + size]]
            began = time.perf_counter()
            await store.commit([], ends, [])
            ended.append(time.perf_counter() - began)
        busy = (time.process_time() - busy) / len(done)
        keyed: list[float] = []
        end = time.perf_counter() + seconds / 3
        while (began := time.perf_counter()) < end:
            adds = jobs(ids, size, keyed=True)
            await store.commit(adds, [], [])
            keyed.append(time.perf_counter() - began)
            await store.commit([], [Ending(add.job.id) for add in adds], [])
        await store.close()
        print(
            f"{size:5} {added:11,.0f}  {percentile(took, 0.5) * 1e3:6.2f}/{percentile(took, 0.99) * 1e3:6.2f}"
            f"  {len(done) / sum(ended):12,.0f}  {percentile(ended, 0.5) * 1e3:6.2f}"
            f"  {size * len(keyed) / sum(keyed):13,.0f}  {busy * 1e6:15.1f}"
        )


async def acks(make: Make, seconds: float) -> None:
    """Each job is submitted, acknowledged and, with the next batch, ended."""
    print("submitters    acks/s   ms p50 / p99")
    for submitters in SIZES:
        store, ids = await opened(make)
        waiting: list[tuple[Add, asyncio.Future[None]]] = []
        ends: list[Ending] = []
        latencies: list[float] = []
        work = asyncio.Event()
        stop = time.perf_counter() + seconds

        async def write(
            store: QueueStore = store,
            waiting: list[tuple[Add, asyncio.Future[None]]] = waiting,
            ends: list[Ending] = ends,
            work: asyncio.Event = work,
            stop: float = stop,
        ) -> None:
            while time.perf_counter() < stop or waiting:
                await work.wait()
                work.clear()
                while waiting:
                    taken, over = waiting[:1000], ends[:]
                    del waiting[:1000]
                    ends.clear()
                    await store.commit([add for add, _ in taken], over, [])
                    for add, future in taken:
                        future.set_result(None)
                        ends.append(Ending(add.job.id))

        async def submit(
            ids: JobIds = ids,
            waiting: list[tuple[Add, asyncio.Future[None]]] = waiting,
            latencies: list[float] = latencies,
            work: asyncio.Event = work,
            stop: float = stop,
        ) -> None:
            while (began := time.perf_counter()) < stop:
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                waiting.append((jobs(ids, 1)[0], future))
                work.set()
                await future
                latencies.append(time.perf_counter() - began)

        writer = asyncio.create_task(write())
        await asyncio.gather(*[submit() for _ in range(submitters)])
        work.set()
        await writer
        await store.close()
        print(
            f"{submitters:10} {len(latencies) / seconds:9,.0f}   "
            f"{percentile(latencies, 0.5) * 1e3:6.2f} / {percentile(latencies, 0.99) * 1e3:6.2f}"
        )


async def depth(make: Make, rows: int) -> None:
    store, ids = await opened(make)
    began = time.perf_counter()
    for _ in range(0, rows, 1000):
        await store.commit([Add(a.job, Placement.POOL) for a in jobs(ids, 1000)], [], [])
    took = time.perf_counter() - began
    print(f"filled {rows:,} rows at {rows / took:,.0f}/s")
    await store.close()
    began = time.perf_counter()
    store, ids = await opened(make)
    counts = await store.counts()
    print(
        f"open and counts: {(time.perf_counter() - began) * 1e3:.1f} ms ({counts[QUEUE].ready:,})"
    )
    claims, ends = [], []
    last = 0
    for _ in range(min(100, rows // 1000)):
        began = time.perf_counter()
        claimed = await store.claim(QUEUE, 1000, 4 << 20)
        claims.append(time.perf_counter() - began)
        assert claimed[0].id > last, "order"
        last = claimed[-1].id
        began = time.perf_counter()
        await store.commit([], [Ending(job.id) for job in claimed], [])
        ends.append(time.perf_counter() - began)
    print(
        f"claim 1000: {percentile(claims, 0.5) * 1e3:.1f} ms, p99 {percentile(claims, 0.99) * 1e3:.1f}; "
        f"end 1000: {percentile(ends, 0.5) * 1e3:.1f} ms"
    )
    began = time.perf_counter()
    await store.find("", id=JobId(last + 1))
    print(f"find: {(time.perf_counter() - began) * 1e3:.2f} ms")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory ever held by this process: {held:.0f} MB")
    await store.close()


def maker(url: str, folder: Path) -> Make:
    if url == "sqlite":
        path = folder / "bench.db"
        return lambda: registry.from_url(f"sqlite://{path}")
    return lambda: registry.from_url(url if "://" in url else f"{url}://")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--store", default="sqlite")
    parser.add_argument("--part", choices=["batches", "acks", "depth"], action="append")
    parser.add_argument("--folder", type=Path, default=None, help="where files are made")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        folder = Path(name)
        print(f"fdatasync of 4 KiB: {fdatasync_ms(folder):.3f} ms")
        make = maker(asked.store, folder)
        for part in asked.part or ["batches", "acks", "depth"]:
            print(f"\n{part}: {asked.store}")
            if part == "batches":
                asyncio.run(batches(make, asked.seconds))
            elif part == "acks":
                asyncio.run(acks(make, asked.seconds))
            else:
                asyncio.run(depth(make, asked.rows))


if __name__ == "__main__":
    main()
