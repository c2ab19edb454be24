-- Single owner: which rows a server holds is known to that server alone, so a
-- claim writes nothing, and after a restart every row is in the pool.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL          -- lease: the last one given
) WITHOUT ROWID;
INSERT INTO meta VALUES ('lease', 0);

CREATE TABLE function (
    no INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name BLOB NOT NULL,
    UNIQUE (tenant, name)
);

CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    fn INTEGER NOT NULL,            -- function.no
    prio INTEGER NOT NULL,          -- 0 high, 1 normal, 2 low
    run_at REAL,                    -- seconds since 1970; NULL: ready
    attempts INTEGER NOT NULL,
    uniq BLOB,                      -- coalescing key
    shown BLOB,                     -- unique as workers see it, where uniq does not say it
    reducer BLOB,
    headers TEXT,                   -- JSON object
    body BLOB NOT NULL              -- last: what is before it is read without it
);
CREATE UNIQUE INDEX job_uniq ON job (fn, uniq) WHERE uniq IS NOT NULL;
CREATE INDEX job_ready ON job (fn, prio, id) WHERE run_at IS NULL;
CREATE INDEX job_delayed ON job (run_at, id) WHERE run_at IS NOT NULL;

CREATE TABLE dead (
    id INTEGER PRIMARY KEY,
    fn INTEGER NOT NULL,
    prio INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    uniq BLOB,
    shown BLOB,
    reducer BLOB,
    headers TEXT,
    reason TEXT NOT NULL,
    worker TEXT NOT NULL,
    died REAL NOT NULL,             -- seconds since 1970
    body BLOB NOT NULL
);

-- Rows of each queue, held or not; written with them, so that a start need not
-- count. The row (0, 0) is no queue: its ready is the highest id ever stored.
CREATE TABLE counter (
    fn INTEGER NOT NULL,
    prio INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    PRIMARY KEY (fn, prio)
) WITHOUT ROWID;
INSERT INTO counter VALUES (0, 0, 0, 0);
