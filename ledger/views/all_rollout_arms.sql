-- Each arm of each rollout as it was executed, over all its days. `dead_ends` are decisions without a target; `answered` is what got an answer, an ensemble's too. By day, ask `decisions_flat`, which has `arm`.
SELECT
    control_digest,
    candidate_digest,
    arm,
    min(day) AS first_day,
    max(day) AS last_day,
    count(*) AS decisions,
    count(*) FILTER (NOT executed) AS dead_ends,
    count(*) FILTER (answered) AS answered,
    count(*) FILTER (answered) / count(*) AS success_share,
    quantile_cont(latency_ms, 0.5) AS p50_ms,
    quantile_cont(latency_ms, 0.95) AS p95_ms,
    sum(calls)::BIGINT AS calls,
    sum(known_cost_{{currency}}) AS known_cost_{{currency}},
    sum(unknown_cost_calls)::BIGINT AS unknown_cost_calls,
    sum(unknown_cost_calls) / nullif(sum(calls), 0) AS unknown_cost_share,
    sum(lower_bound_calls)::BIGINT AS lower_bound_calls,
    count(*) FILTER (answered_by <> target) AS answered_by_fallback,
    mode,
    simulated,
    import
FROM all_decisions_flat
WHERE arm IS NOT NULL AND mode <> 'shadow'
GROUP BY control_digest, candidate_digest, mode, arm, simulated, import
