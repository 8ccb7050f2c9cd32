-- Values that may have to be erased have salts, which make the record's digest say nothing of them once they are gone.
ALTER TABLE decision_rows ADD COLUMN salts MAP(VARCHAR, VARCHAR);
ALTER TABLE decision_rows ADD COLUMN erased MAP(VARCHAR, VARCHAR);

COMMENT ON COLUMN decision_rows.salts IS
    'the salt of each value that is sealed, by its place such as `features.NAME`; NULL where there are none';
COMMENT ON COLUMN decision_rows.erased IS
    'by its place, what stands in the record''s digest for each value that was erased; NULL for one that had no salt';
