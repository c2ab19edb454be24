-- Jobs as they came, a row for each commit, or few: most are over soon and never become
-- rows of their own. What is in the log is not in job, and not in counter.

CREATE TABLE log (
    no INTEGER PRIMARY KEY,         -- in the order in which they were written
    top INTEGER NOT NULL,           -- the highest id ever stored, then
    ids BLOB NOT NULL,              -- 64 bits each; all numbers begin with the lowest byte
    queues BLOB NOT NULL,           -- 32 bits each: function.no * 4 + priority
    sizes BLOB NOT NULL,            -- 32 bits each: of the keys (0 for none), then of the bodies
    data BLOB NOT NULL,             -- the keys, then the bodies
    over BLOB NOT NULL              -- ids in earlier rows that are not in the log any more
);
