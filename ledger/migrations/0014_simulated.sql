-- A decision that found no model has no calls that could say that it was simulated.
ALTER TABLE decision_rows ADD COLUMN simulated BOOLEAN;

COMMENT ON COLUMN decision_rows.simulated IS
    'whether no model could be called, as every backend was simulated; NULL where an earlier version recorded it';
