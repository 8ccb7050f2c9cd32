-- Comments name where all decisions are: DuckDB suggests these tables to who asks for `decisions`.

COMMENT ON TABLE decision_rows IS
    'One row for each decision: what differs from call to call, and which parts its record has. `decision_records` shows it whole, `decisions_flat` what is executed and real.';
COMMENT ON TABLE decisions_1 IS
    'Decisions whose records have version 1, with the records'' texts, from earlier versions alone: empty in a new ledger. All decisions are in `decision_records` and `decisions_flat`.';
