-- Tables of format 1, as the first release made them, with rows in every state.
-- Never to be changed: tables like these are in somebody's database.

CREATE TABLE gt_meta (name text PRIMARY KEY, value bigint NOT NULL);
INSERT INTO gt_meta VALUES ('format', 1);

CREATE TABLE gt_lease (
    id bigserial PRIMARY KEY,           -- the fencing token: never given twice
    server text NOT NULL,
    state text NOT NULL,                -- live, dead
    ttl double precision NOT NULL,      -- seconds
    expires timestamptz NOT NULL,
    pid int NOT NULL,                   -- the session its server writes on, to see
    started timestamptz NOT NULL        -- whether a server of this name still lives
);

CREATE TABLE gt_function (
    no serial PRIMARY KEY,
    tenant text NOT NULL,
    name bytea NOT NULL,
    UNIQUE (tenant, name)
);

-- The wide columns first, so that none needs padding.
CREATE TABLE gt_job (
    id bigint PRIMARY KEY,
    owner bigint,                       -- gt_lease.id, NULL: nobody
    run_at double precision,            -- seconds since 1970, NULL: ready
    fn int NOT NULL,                    -- gt_function.no
    attempts int NOT NULL,
    prio smallint NOT NULL,             -- 0 high, 1 normal, 2 low
    uniq bytea,                         -- coalescing key
    shown bytea,                        -- unique as workers see it, where uniq does not say it
    reducer bytea,
    headers text,                       -- JSON object
    body bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

-- Bodies are read whole and often compressed by whoever sent them.
ALTER TABLE gt_job ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE UNIQUE INDEX gt_job_uniq ON gt_job (fn, uniq) WHERE uniq IS NOT NULL;
CREATE INDEX gt_job_pool ON gt_job (fn, prio, id) WHERE owner IS NULL AND run_at IS NULL;
CREATE INDEX gt_job_delayed ON gt_job (run_at) WHERE run_at IS NOT NULL;
CREATE INDEX gt_job_owner ON gt_job (owner) WHERE owner IS NOT NULL;

CREATE TABLE gt_dead (
    id bigint PRIMARY KEY,
    died double precision NOT NULL,     -- seconds since 1970
    fn int NOT NULL,
    attempts int NOT NULL,
    prio smallint NOT NULL,
    uniq bytea,
    shown bytea,
    reducer bytea,
    headers text,
    reason text NOT NULL,
    worker text NOT NULL,
    body bytea NOT NULL
);
ALTER TABLE gt_dead ALTER COLUMN body SET STORAGE EXTERNAL;

-- Rows that nobody holds, by queue. The sum over the slots counts: each lease
-- writes a slot of its own, so servers do not wait for each other here.
CREATE TABLE gt_count (
    fn int NOT NULL,
    prio smallint NOT NULL,
    slot bigint NOT NULL,               -- gt_lease.id; 0: of leases that are gone
    ready bigint NOT NULL,
    delayed bigint NOT NULL,
    PRIMARY KEY (fn, prio, slot)
) WITH (fillfactor = 50);

INSERT INTO gt_lease VALUES
    (7, 'gone', 'live', 10, '2024-01-01 00:00:00+00', 1, '2024-01-01 00:00:00+00');
SELECT setval('gt_lease_id_seq', 7);
INSERT INTO gt_function VALUES (1, '', 'resize'), (2, 'acme', 'mail');
SELECT setval('gt_function_no_seq', 2);
INSERT INTO gt_job (id, owner, run_at, fn, attempts, prio, uniq, shown, reducer, headers, body) VALUES
    (1000, NULL, NULL, 1, 0, 1, NULL, NULL, NULL, NULL, 'plain'),
    (1001, 7, NULL, 1, 3, 1, '\x006b6579', '-', 'sum', '{"t": "é"}', '\x00ff'),
    (1002, NULL, 4e9, 2, 0, 0, 'u', NULL, NULL, NULL, '');
INSERT INTO gt_dead VALUES
    (900, 1.7e9, 1, 5, 1, NULL, NULL, NULL, NULL, 'tired', 'w', 'dead');
INSERT INTO gt_count VALUES (1, 1, 7, 1, 0), (2, 0, 7, 0, 1);
