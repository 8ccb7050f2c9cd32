-- Where a call went: as the engine judges the model's place, and the server that was asked.
ALTER TABLE attempts ADD COLUMN location VARCHAR;
ALTER TABLE attempts ADD COLUMN host VARCHAR;

COMMENT ON COLUMN attempts.location IS
    'where the model runs: `local` on this machine, `cloud`, or `unknown`; NULL where an earlier version recorded it';
COMMENT ON COLUMN attempts.host IS
    'the server that was called, such as `127.0.0.1:11434`; NULL for a model in our own process';
