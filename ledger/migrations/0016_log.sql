-- Every row that records has a leaf in one log, in the order in which rows came. Rows that were there before enter it
-- when this is applied.
CREATE TABLE log_leaves (
    leaf   BIGINT NOT NULL,
    kind   UTINYINT NOT NULL,
    id     UUID NOT NULL,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL
);

COMMENT ON TABLE log_leaves IS
    'The ledger''s log: a leaf for each row that was recorded. `docs/verifying.md` defines its bytes.';
COMMENT ON COLUMN log_leaves.leaf IS 'its number in the log, from 0, without gaps';
COMMENT ON COLUMN log_leaves.kind IS
    'what the row is: 1 decision, 2 attempt, 3 outcome, 4 policy or catalog, 5 part of records';
COMMENT ON COLUMN log_leaves.id IS
    'the row''s id; of an attempt that of its decision, of policies and parts made of kind and digest';
COMMENT ON COLUMN log_leaves.number IS 'the number of an attempt; 0 for other kinds';
COMMENT ON COLUMN log_leaves.digest IS 'the digest of the row: SHA-256';

CREATE TABLE log_origin (
    origin VARCHAR NOT NULL
);

COMMENT ON TABLE log_origin IS 'The name of the log, once a checkpoint was signed.';
COMMENT ON COLUMN log_origin.origin IS 'the first line of its checkpoints, and the name of the key that signs them';
