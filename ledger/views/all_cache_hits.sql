-- One row for each answer from the cache, with what making it had cost.
SELECT
    decision_id,
    started_at,
    day,
    model_id,
    policy_name,
    matched_rule,
    role,
    known_saved_{{currency}},
    team,
    user,
    tags,
    session_id,
    trace_id,
    mode,
    simulated,
    import
FROM all_attempts_flat
WHERE status = 'cached'
