-- One row for each call that a model answered: how long it took, without the time for loading. Percentiles are right over any rows: `quantile_cont(latency_ms, 0.95)`.
SELECT
    day,
    started_at,
    decision_id,
    model_id,
    backend_id,
    location,
    operation,
    role,
    latency_ms,
    first_token_ms,
    load_ms,
    output_tokens,
    policy_name,
    team,
    user,
    mode,
    simulated,
    import
FROM all_attempts_flat
WHERE status = 'ok'
