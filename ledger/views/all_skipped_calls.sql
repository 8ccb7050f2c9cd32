-- One row for each call that was passed over, and why.
SELECT
    decision_id,
    started_at,
    day,
    model_id,
    backend_id,
    location,
    role,
    reason,
    policy_name,
    matched_rule,
    team,
    user,
    session_id,
    trace_id,
    mode,
    simulated,
    import
FROM all_attempts_flat
WHERE status = 'skipped'
