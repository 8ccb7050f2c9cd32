-- Old months can be dropped. Their leaves stay, and what was dropped is on record.
CREATE TABLE prunings (
    pruning_id UUID NOT NULL,
    since_us   BIGINT NOT NULL,
    before_us  BIGINT NOT NULL,
    leaves     BIGINT[][] NOT NULL,
    checkpoint VARCHAR NOT NULL,
    at_us      BIGINT NOT NULL,
    reason     VARCHAR
);

COMMENT ON TABLE prunings IS 'One row for each time that old decisions were pruned.';
COMMENT ON COLUMN prunings.pruning_id IS 'its id, at random';
COMMENT ON COLUMN prunings.since_us IS 'when the oldest of the decisions that were pruned was made';
COMMENT ON COLUMN prunings.before_us IS 'decisions that were made before were pruned: the beginning of a month in UTC';
COMMENT ON COLUMN prunings.leaves IS
    'the leaves whose rows were pruned: the first and the last of each range, of which those of kinds 1, 2, 3 and 5 count';
COMMENT ON COLUMN prunings.checkpoint IS 'the signed checkpoint that covers what was pruned';
COMMENT ON COLUMN prunings.at_us IS 'when it was pruned';
COMMENT ON COLUMN prunings.reason IS 'why, in the words of whoever pruned';

COMMENT ON COLUMN log_leaves.kind IS
    'what the row is: 1 decision, 2 attempt, 3 outcome, 4 policy or catalog, 5 part of records, 6 erasure, 7 pruning';
COMMENT ON COLUMN log_leaves.number IS 'the number of an attempt or of an erasure; 0 for other kinds';
