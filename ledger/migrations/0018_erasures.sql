-- What was erased is on record, so that it is not taken for changed.
CREATE TABLE erasures (
    decision_id UUID NOT NULL,
    number      INTEGER NOT NULL,
    places      VARCHAR[],
    outcomes    VARCHAR[],
    record      VARCHAR NOT NULL,
    at_us       BIGINT NOT NULL,
    reason      VARCHAR
);

COMMENT ON TABLE erasures IS 'One row for each decision of which something was erased, each time.';
COMMENT ON COLUMN erasures.decision_id IS 'the decision; its id holds the time at which it was made';
COMMENT ON COLUMN erasures.number IS 'which erasure of the ledger it was, from 1: one may be of many decisions';
COMMENT ON COLUMN erasures.places IS
    'where the erased values stood, such as `features.NAME`; NULL where the decision was erased with all that came of it';
COMMENT ON COLUMN erasures.outcomes IS 'the ids of the outcomes that were erased with the decision';
COMMENT ON COLUMN erasures.record IS 'the digest that its record had';
COMMENT ON COLUMN erasures.at_us IS 'when it was erased';
COMMENT ON COLUMN erasures.reason IS 'why, in the words of whoever erased it';
