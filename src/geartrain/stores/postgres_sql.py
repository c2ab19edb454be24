"""The statements of the PostgreSQL store, in one place.

Each that writes is one statement: it arrives whole or not at all, so no lock
ever waits for a network. ``:name`` is a parameter; ``numbered`` makes it ``$1``.

The fence is ``me``: the lease row, locked FOR KEY SHARE while the statement
runs. Adoption locks it FOR UPDATE first, so it waits for the statement or the
statement finds the lease dead. A heartbeat's update waits for neither.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple


class Statement(NamedTuple):
    """Text for the server, and the names of its parameters in their order."""

    text: bytes
    names: tuple[str, ...]


def numbered(text: str) -> Statement:
    """``:name`` -> ``$1``."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        name = found[1]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return Statement(re.sub(r"(?<!:):([a-z_]+)", number, text).encode(), tuple(names))


_ME: Final = (
    "me AS MATERIALIZED (SELECT id FROM gt_lease WHERE id = :me AND state = 'live' FOR KEY SHARE)"
)

#: The comparison is wrapped so that the planner does not think of the index on
#: owner: this server may hold a hundred thousand rows, and the ids are few.
_HELD: Final = "(coalesce(owner, :me) = :me) IS TRUE"

_ENDED: Final = f"""ended AS (
    DELETE FROM gt_job WHERE id = ANY(:ends) AND {_HELD} AND EXISTS (SELECT 1 FROM me)
    RETURNING id, owner, fn, prio, run_at)"""  # noqa: S608

_DIED: Final = f"""died AS (
    DELETE FROM gt_job WHERE id = ANY(:dead_ids) AND {_HELD} AND EXISTS (SELECT 1 FROM me)
    RETURNING *),
buried AS (
    INSERT INTO gt_dead
    SELECT d.id, :died_at, d.fn, coalesce(x.attempts, d.attempts), d.prio, d.uniq, d.shown,
           d.reducer, d.headers, x.reason, x.worker, d.body
    FROM died d JOIN unnest(:dead_ids, :reasons, :workers, :dead_attempts)
        AS x(id, reason, worker, attempts) ON x.id = d.id
    ON CONFLICT (id) DO NOTHING)"""  # noqa: S608

_GIVEN: Final = """given AS (
    UPDATE gt_job j SET owner = CASE WHEN g.stay THEN j.owner END, run_at = g.run_at,
           attempts = coalesce(g.attempts, j.attempts)
    FROM unnest(:gives, :stays, :give_times, :give_attempts) AS g(id, stay, run_at, attempts)
    WHERE j.id = g.id AND (j.owner = :me) IS TRUE AND EXISTS (SELECT 1 FROM me)
    RETURNING j.id, j.owner, j.fn, j.prio, j.run_at)"""


class Shape(NamedTuple):
    """What the adds of a batch have in common: it need not be said for each of them."""

    #: One function, one priority, one placement.
    alike: bool
    #: Some have a key.
    keyed: bool
    #: None has a time, attempts, a reducer, headers, or a unique that its key does not say.
    plain: bool
    #: Rows with the id or the key of one of them may be there; where none is, not to look
    #: for them saves a quarter. Without care, such a row makes the statement fail.
    careful: bool


#: Column, its array, and whether that depends on ``alike``, ``keyed`` or ``plain``.
_COLUMNS: Final = (
    ("id", "ids", ""),
    ("mine", "mine", "alike"),
    ("run_at", "times", "plain"),
    ("fn", "fns", "alike"),
    ("attempts", "attempts", "plain"),
    ("prio", "prios", "alike"),
    ("uniq", "uniqs", "keyed"),
    ("shown", "shown", "plain"),
    ("reducer", "reducers", "plain"),
    ("headers", "headers", "plain"),
    ("body", "bodies", ""),
)


def _added(shape: Shape) -> str:
    said = {"": True, "alike": not shape.alike, "keyed": shape.keyed, "plain": not shape.plain}
    given = [(column, array) for column, array, when in _COLUMNS if said[when]]
    values = {column: f"a.{column}" for column, _ in given}
    mine = "a.mine"
    if shape.alike:
        mine = ":all_mine"
        values |= {"fn": ":fn", "prio": ":prio"}
    values["owner"] = f"CASE WHEN {mine} THEN me.id END"
    if shape.plain:
        values["attempts"] = "0"
    values.pop("mine", None)
    care = "ON CONFLICT DO NOTHING " if shape.careful else ""
    return f"""added AS (
    INSERT INTO gt_job ({", ".join(values)})
    SELECT {", ".join(values.values())}
    FROM me, unnest({", ".join(f":{array}" for _, array in given)})
        AS a({", ".join(column for column, _ in given)})
    {care}RETURNING id, owner, fn, prio, run_at)"""  # noqa: S608


_STILLBORN: Final = """stillborn AS (
    INSERT INTO gt_dead
    SELECT a.id, :died_at, a.fn, a.attempts, a.prio, a.uniq, a.shown, a.reducer, a.headers,
           a.reason, a.worker, a.body
    FROM me, unnest(:s_ids, :s_fns, :s_attempts, :s_prios, :s_uniqs, :s_shown, :s_reducers,
                    :s_headers, :s_reasons, :s_workers, :s_bodies)
        AS a(id, fn, attempts, prio, uniq, shown, reducer, headers, reason, worker, body)
    ON CONFLICT (id) DO NOTHING)"""


def _counted(changes: str, slot: str = ":me") -> str:
    """Add changes, rows of (fn, prio, ready, delayed), to a slot of the counts."""
    return f"""counted AS (
    INSERT INTO gt_count AS c (fn, prio, slot, ready, delayed)
    SELECT fn, prio, {slot}, sum(ready), sum(delayed) FROM ({changes}) x GROUP BY fn, prio
    ORDER BY fn, prio
    ON CONFLICT (fn, prio, slot) DO UPDATE
        SET ready = c.ready + excluded.ready, delayed = c.delayed + excluded.delayed)"""  # noqa: S608


def _moved(table: str, sign: str) -> str:
    return (
        f"SELECT fn, prio, {sign}(run_at IS NULL)::int AS ready, "  # noqa: S608
        f"{sign}(run_at IS NOT NULL)::int AS delayed FROM {table} WHERE owner IS NULL"
    )


_NOWHERE: Final = "SELECT 0 AS fn, 0 AS prio WHERE false"


@lru_cache(maxsize=1024)
def commit(
    *, adds: Shape | None, ends: bool, gives: bool, deaths: bool, stillborn: bool
) -> Statement:
    """One batch.

    Answers one row: the lease or NULL; the ids ended, given, added, in the order in
    which they are, so that a key is free again for an add; and the queues whose pools
    got rows, as ``fn << 2 | prio``.
    """
    parts, moves = [_ME], []
    tables = {"ended": ends, "died": deaths, "given": gives, "added": adds is not None}
    texts = {"ended": _ENDED, "died": _DIED, "given": _GIVEN}
    if adds is not None:
        texts["added"] = _added(adds)
    for table, there in tables.items():
        if there:
            parts.append(texts[table])
            moves.append(_moved(table, "-" if table in ("ended", "died") else ""))
    if stillborn:
        parts.append(_STILLBORN)
    if moves:
        parts.append(_counted(" UNION ALL ".join(moves)))

    def ids(table: str) -> str:
        return f"SELECT id FROM {table}" if tables[table] else "SELECT 0::bigint WHERE false"  # noqa: S608

    pools = " UNION ALL ".join(
        f"SELECT fn, prio FROM {table} WHERE owner IS NULL AND run_at IS NULL"  # noqa: S608
        for table in ("added", "given")
        if tables[table]
    )
    answer = ", ".join(
        (
            "(SELECT id FROM me)",
            f"ARRAY({ids('ended')} UNION ALL {ids('died')})",
            f"ARRAY({ids('given')})",
            f"ARRAY({ids('added')})",
            "ARRAY(SELECT DISTINCT fn::bigint << 2 | prio FROM ("  # noqa: S608
            + (pools or _NOWHERE)
            + ") pools)",
        )
    )
    return numbered("WITH " + ", ".join(parts) + " SELECT " + answer)


#: Which of these adds are there, under the same id or the same key.
SAME_ID: Final = numbered("SELECT id, owner FROM gt_job WHERE id = ANY(:ids)")
SAME_KEY: Final = numbered("""
    SELECT a.place, j.id, j.owner FROM unnest(:fns, :uniqs) WITH ORDINALITY AS a(fn, uniq, place)
    JOIN gt_job j ON j.fn = a.fn AND j.uniq = a.uniq""")

#: FOR UPDATE SKIP LOCKED: rows that another server is just claiming are not waited for.
CLAIM: Final = numbered(f"""
    WITH {_ME},
    seen AS MATERIALIZED (
        SELECT id, CASE WHEN octet_length(body) <= :max_body THEN octet_length(body) ELSE 0 END
            AS size
        FROM gt_job WHERE owner IS NULL AND run_at IS NULL AND fn = :fn AND prio = :prio
            AND id > :mark AND EXISTS (SELECT 1 FROM me)
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED),
    fits AS MATERIALIZED (
        SELECT id, sum(size) OVER (ORDER BY id) <= :max_bytes OR id = min(id) OVER () AS fits
        FROM seen),
    claimed AS (
        UPDATE gt_job j SET owner = :me FROM fits WHERE j.id = fits.id AND fits.fits
        RETURNING j.id, attempts, uniq, shown, reducer, headers,
            CASE WHEN octet_length(body) <= :max_body THEN body END AS body),
    {_counted("SELECT :fn::int AS fn, :prio::smallint AS prio, -1 AS ready, 0 AS delayed FROM claimed")}
    SELECT me.id, c.* FROM (SELECT 1) one LEFT JOIN me ON true LEFT JOIN claimed c ON true
    ORDER BY c.id""")  # noqa: S608

LOAD: Final = numbered("SELECT id, body FROM gt_job WHERE id = ANY(:ids)")

DUE: Final = numbered(f"""
    WITH ripe AS MATERIALIZED (
        SELECT id FROM gt_job WHERE run_at <= :now ORDER BY run_at LIMIT :limit
        FOR UPDATE SKIP LOCKED),
    moved AS (
        UPDATE gt_job j SET run_at = NULL FROM ripe WHERE j.id = ripe.id
        RETURNING fn, prio),
    {_counted("SELECT fn, prio, 1 AS ready, -1 AS delayed FROM moved")}
    SELECT fn, prio, count(*) FROM moved GROUP BY fn, prio""")  # noqa: S608
NEXT_DUE: Final = numbered("SELECT min(run_at) FROM gt_job WHERE run_at IS NOT NULL")

COUNTS: Final = numbered("""
    SELECT tenant, name, prio, sum(ready)::bigint, sum(delayed)::bigint
    FROM gt_count c JOIN gt_function f ON f.no = c.fn GROUP BY tenant, name, prio""")

_FACTS: Final = """
    SELECT j.id, tenant, name, prio, uniq, shown, octet_length(body), run_at, attempts, owner,
           l.server
    FROM gt_job j JOIN gt_function f ON f.no = j.fn LEFT JOIN gt_lease l ON l.id = j.owner"""
FIND_ID: Final = numbered(f"{_FACTS} WHERE tenant = :tenant AND j.id = :id")
FIND_KEY: Final = numbered(f"{_FACTS} WHERE tenant = :tenant AND name = :name AND uniq = :uniq")
#: One look into the index for each function.
HOLDERS: Final = numbered(f"{_FACTS} WHERE tenant = :tenant AND uniq = :uniq")
HOLDER: Final = numbered(
    "SELECT owner FROM gt_job WHERE id = :id AND owner IS NOT NULL AND (owner <> :me) IS TRUE"
)
SCAN: Final = numbered(f"""{_FACTS} WHERE j.id > :after
    AND (:tenant::text IS NULL OR tenant = :tenant) AND (:name::bytea IS NULL OR name = :name)
    ORDER BY j.id LIMIT :limit""")

_DEAD: Final = """
    SELECT d.id, tenant, name, prio, attempts, uniq, shown, reducer, headers, reason, worker, died,
           octet_length(body), CASE WHEN :bodies THEN body END
    FROM gt_dead d JOIN gt_function f ON f.no = d.fn"""
DEAD_LIST: Final = numbered(f"""{_DEAD} WHERE d.id > :after
    AND (:tenant::text IS NULL OR tenant = :tenant) AND (:name::bytea IS NULL OR name = :name)
    ORDER BY d.id LIMIT :limit""")
DEAD_SHOW: Final = numbered(f"{_DEAD} WHERE d.id = :id")
DEAD_RETRY: Final = numbered(f"""
    WITH risen AS (
        INSERT INTO gt_job (id, fn, prio, attempts, uniq, shown, reducer, headers, body)
        SELECT id, fn, prio, 0, uniq, shown, reducer, headers, body FROM gt_dead
        WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
        ON CONFLICT DO NOTHING RETURNING id, fn, prio),
    gone AS (DELETE FROM gt_dead WHERE id IN (SELECT id FROM risen)),
    {_counted("SELECT fn, prio, 1 AS ready, 0 AS delayed FROM risen")}
    SELECT id, fn, prio FROM risen ORDER BY id""")  # noqa: S608
DEAD_DELETE: Final = numbered("""
    WITH gone AS (DELETE FROM gt_dead WHERE id = ANY(:ids) RETURNING id)
    SELECT count(*) FROM gone""")

# ── functions ────────────────────────────────────────────────────────────────

ADD_FUNCTION: Final = numbered("""
    INSERT INTO gt_function (tenant, name) VALUES (:tenant, :name)
    ON CONFLICT (tenant, name) DO UPDATE SET name = excluded.name RETURNING no""")
FUNCTION: Final = numbered("SELECT no FROM gt_function WHERE tenant = :tenant AND name = :name")
FUNCTIONS: Final = numbered("SELECT no, tenant, name FROM gt_function WHERE no > :after")

# ── leases ───────────────────────────────────────────────────────────────────

#: A server of this name that lives, and whether its session does.
NAMESAKES: Final = numbered("""
    SELECT l.id, EXISTS (SELECT 1 FROM pg_stat_activity a
                         WHERE a.pid = l.pid AND a.backend_start = l.started)
    FROM gt_lease l WHERE server = :server AND state = 'live' AND expires > now()""")
NEW_LEASE: Final = numbered("""
    INSERT INTO gt_lease (server, state, ttl, expires, pid, started)
    SELECT :server, 'live', :ttl, now() + make_interval(secs => :ttl), pid, backend_start
    FROM pg_stat_activity WHERE pid = pg_backend_pid() RETURNING id""")
#: Job ids hold the lease modulo 1,024.
SAME_INSTANCE: Final = numbered("""
    SELECT count(*) FROM gt_lease WHERE state = 'live' AND id <> :id AND id % 1024 = :id % 1024""")
FLOOR: Final = numbered("""
    SELECT greatest((SELECT max(id) FROM gt_job), (SELECT max(id) FROM gt_dead), 0)""")
HEARTBEAT: Final = numbered("""
    WITH beat AS (
        UPDATE gt_lease SET expires = now() + make_interval(secs => ttl), pid = :pid,
               started = :started
        WHERE id = :me AND state = 'live' RETURNING id)
    SELECT count(*) FROM beat""")
END_LEASES: Final = numbered("""
    WITH locked AS MATERIALIZED (SELECT id FROM gt_lease WHERE id = ANY(:ids) FOR UPDATE)
    UPDATE gt_lease SET state = 'dead' WHERE id IN (SELECT id FROM locked)""")
#: Rows of former leases of mine, or of nobody by now, become mine.
TAKE_BACK: Final = numbered(f"""
    WITH old AS MATERIALIZED (
        SELECT id, owner FROM gt_job
        WHERE id = ANY(:ids) AND (owner IS NULL OR (owner = ANY(:former)) IS TRUE)
            AND run_at IS NULL
        ORDER BY id FOR UPDATE),
    taken AS (
        UPDATE gt_job j SET owner = :me FROM old WHERE j.id = old.id
        RETURNING j.id, old.owner, fn, prio),
    {_counted("SELECT fn, prio, -1 AS ready, 0 AS delayed FROM taken WHERE owner IS NULL")}
    SELECT id FROM taken""")  # noqa: S608

#: Who is presumed dead. A lease row that is locked has a statement running: next time.
LIVING: Final = numbered("SELECT id, ttl, expires FROM gt_lease WHERE state = 'live' AND id <> :me")
FENCE: Final = numbered("""
    WITH late AS MATERIALIZED (
        SELECT id FROM gt_lease
        WHERE state = 'live' AND id <> :me AND (expires < now() OR id = ANY(:stuck))
        FOR UPDATE SKIP LOCKED)
    UPDATE gt_lease SET state = 'dead' WHERE id IN (SELECT id FROM late)""")
ENDED: Final = numbered("SELECT id FROM gt_lease WHERE state = 'dead'")
RELEASE: Final = numbered(f"""
    WITH orphans AS MATERIALIZED (
        SELECT id FROM gt_job WHERE owner = ANY(:leases) LIMIT :limit FOR UPDATE SKIP LOCKED),
    freed AS (
        UPDATE gt_job j SET owner = NULL FROM orphans WHERE j.id = orphans.id
        RETURNING fn, prio),
    {_counted("SELECT fn, prio, 1 AS ready, 0 AS delayed FROM freed")}
    SELECT fn, prio, count(*) FROM freed GROUP BY fn, prio""")  # noqa: S608
#: Leases that hold nothing any more go, and their counts are added up in slot 0.
BURY_LEASES: Final = numbered(f"""
    WITH gone AS (
        DELETE FROM gt_lease l WHERE state = 'dead' AND id = ANY(:leases)
            AND NOT EXISTS (SELECT 1 FROM gt_job WHERE owner = l.id)
        RETURNING id),
    left_over AS (
        DELETE FROM gt_count WHERE slot IN (SELECT id FROM gone)
        RETURNING fn, prio, ready, delayed),
    {_counted("SELECT fn, prio, ready, delayed FROM left_over", "0")}
    SELECT count(*) FROM gone""")  # noqa: S608

NOTIFY: Final = numbered(
    "SELECT pg_notify(channel, said) FROM unnest(:channels, :said) AS x(channel, said)"
)
