-- A store of format 1, as the first release wrote it. Never to be changed: a
-- file like this is on somebody's disk.
PRAGMA auto_vacuum = INCREMENTAL;
BEGIN TRANSACTION;
CREATE TABLE counter (
    fn INTEGER NOT NULL,
    prio INTEGER NOT NULL,
    ready INTEGER NOT NULL,
    delayed INTEGER NOT NULL,
    PRIMARY KEY (fn, prio)
) WITHOUT ROWID;
INSERT INTO "counter" VALUES(0,0,1002,0);
INSERT INTO "counter" VALUES(1,1,2,0);
INSERT INTO "counter" VALUES(2,0,0,1);
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
INSERT INTO "dead" VALUES(900,1,1,5,NULL,NULL,NULL,NULL,'tired','w',1700000000.0,X'64656164');
CREATE TABLE function (
    no INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name BLOB NOT NULL,
    UNIQUE (tenant, name)
);
INSERT INTO "function" VALUES(1,'',X'726573697A65');
INSERT INTO "function" VALUES(2,'acme',X'6D61696C');
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
INSERT INTO "job" VALUES(1000,1,1,NULL,0,NULL,NULL,NULL,NULL,X'706C61696E');
INSERT INTO "job" VALUES(1001,1,1,NULL,3,X'006B6579',X'2D',X'73756D','{"traceparent": "00-é"}',X'00FF');
INSERT INTO "job" VALUES(1002,2,0,4000000000.0,0,X'75',NULL,NULL,NULL,X'');
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL          -- lease: the last one given
) WITHOUT ROWID;
INSERT INTO "meta" VALUES('lease',7);
CREATE UNIQUE INDEX job_uniq ON job (fn, uniq) WHERE uniq IS NOT NULL;
CREATE INDEX job_ready ON job (fn, prio, id) WHERE run_at IS NULL;
CREATE INDEX job_delayed ON job (run_at, id) WHERE run_at IS NOT NULL;
COMMIT;
PRAGMA application_id = 0x4754726E;
PRAGMA user_version = 1;
PRAGMA journal_mode = WAL;
