-- A cost of 0 has no say in which currency a sum is in: a call that was refused costs nothing in any. A sum is NULL only
-- where costs came in two currencies, and then for a whole arm too. What a cached answer saved stands beside its cost.

CREATE OR REPLACE VIEW attempts_flat AS
SELECT
    a.decision_id,
    a.number,
    make_timestamp(a.started_at_us) AS started_at,
    d.operation,
    d.mode,
    d.policy_name,
    d.matched_rule,
    a.role,
    a.model_id,
    a.backend_id,
    a.model_said,
    a.status,
    a.error_class,
    a.finish_reason,
    a.streamed,
    a.load_us / 1000 AS load_ms,
    a.first_token_us / 1000 AS first_token_ms,
    a.total_us / 1000 AS total_ms,
    a.input_tokens,
    a.cached_input_tokens,
    a.output_tokens,
    a.reasoning_tokens,
    a.tokens_source,
    (a.cost_nano::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) AS cost,
    a.currency,
    a.cost_source,
    a.cached_answer,
    a.simulated,
    a.reason,
    d.features,
    d.tags,
    (a.saved_nano::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) AS saved
FROM attempts AS a
JOIN decisions AS d ON d.decision_id = a.decision_id;

COMMENT ON VIEW attempts_flat IS
    'One row for each call of a backend, with the decision behind it. `cost`, and `saved` by an answer from the cache, '
    'are in whole units of the currency.';

CREATE OR REPLACE VIEW decisions_flat AS
WITH executed AS (
    SELECT
        decision_id,
        count(*) AS attempts,
        arg_max(status, number) FILTER (role IN ('answer', 'fallback', 'retry')) AS last_status,
        arg_max(model_id, number)
            FILTER (role IN ('answer', 'fallback', 'retry') AND status IN ('ok', 'cached')) AS answered_by,
        bool_or(status = 'lost') AS lost,
        (max(started_at_us + total_us) - min(started_at_us)) / 1000 AS latency_ms,
        CASE
            WHEN count(DISTINCT currency) FILTER (cost_nano <> 0) <= 1 THEN sum(cost_nano)::HUGEINT
        END AS known_cost_nano,
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_attempts,
        CASE
            WHEN count(DISTINCT currency) FILTER (cost_nano <> 0) = 1 THEN max(currency) FILTER (cost_nano <> 0)
            WHEN count(DISTINCT currency) = 1 THEN max(currency)
        END AS currency,
        bool_or(simulated) AS simulated
    FROM attempts
    GROUP BY decision_id
)
SELECT
    d.decision_id,
    make_timestamp(d.at_us) AS decided_at,
    d.operation,
    d.outcome,
    d.mode,
    d.policy_name,
    d.policy_digest,
    d.matched_rule,
    d.reason,
    d.target,
    CASE WHEN d.answered_attempt IS NOT NULL THEN e.answered_by END AS answered_by,
    CASE
        WHEN d.answered_attempt IS NOT NULL THEN given.status
        -- Whoever asked has heard nothing, whatever came of the calls before.
        WHEN e.lost THEN 'lost'
        -- What a model said is no answer where a step refused it, or an ensemble came to nothing.
        WHEN e.last_status IN ('ok', 'cached') OR (e.attempts > 0 AND e.last_status IS NULL) THEN 'failed'
        ELSE e.last_status
    END AS status,
    coalesce(e.attempts, 0) AS attempts,
    CASE WHEN NOT e.lost THEN e.latency_ms END AS latency_ms,
    e.known_cost_nano,
    e.currency,
    coalesce(e.unknown_cost_attempts, 0) AS unknown_cost_attempts,
    e.simulated,
    d.features,
    d.tags,
    d.session_id,
    d.trace_id,
    d.deciding_ns / 1000 AS deciding_us,
    d.arm,
    d.arm_probability,
    d.control_digest,
    d.candidate_digest,
    d.shadow_of,
    d.answered_attempt IS NOT NULL AS answered
FROM decisions AS d
LEFT JOIN executed AS e ON e.decision_id = d.decision_id
LEFT JOIN attempts AS given ON given.decision_id = d.decision_id AND given.number = d.answered_attempt;

COMMENT ON VIEW decisions_flat IS
    'One row for each decision, shadows too (`mode`), with what came of executing it. Cost is NULL where it came in two '
    'currencies, of which a cost of 0 is none, or where none is known; `answered_by` is NULL too where an ensemble '
    '`answered`, as no one model did.';

CREATE OR REPLACE VIEW rollout_arms AS
WITH arms AS (
    SELECT
        decision_id, control_digest, candidate_digest, mode, arm, simulated, attempts > 0 AS executed,
        answered, answered_by, target, latency_ms
    FROM decisions_flat
    WHERE arm IS NOT NULL AND mode NOT IN ('shadow', 'dry_run')
),
calls AS (
    SELECT
        decision_id,
        count(*) AS attempts,
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_attempts,
        sum(cost_nano)::HUGEINT AS cost_nano,
        min(currency) FILTER (cost_nano <> 0) AS first_currency,
        max(currency) FILTER (cost_nano <> 0) AS last_currency,
        min(currency) AS first_named,
        max(currency) AS last_named
    FROM attempts
    WHERE status <> 'skipped' AND decision_id IN (SELECT decision_id FROM arms)
    GROUP BY decision_id
),
done AS (
    SELECT
        control_digest,
        candidate_digest,
        mode,
        arm,
        simulated,
        -- Dead ends are neither simulated nor real; they count once, beside what was real.
        simulated = min(simulated) OVER (PARTITION BY control_digest, candidate_digest, mode, arm) AS with_dead_ends,
        count(*) AS executed,
        count(*) FILTER (answered) AS answered,
        count(*) FILTER (answered_by <> target) AS answered_by_fallback,
        quantile_cont(latency_ms, 0.5) FILTER (answered) AS p50_ms,
        quantile_cont(latency_ms, 0.95) FILTER (answered) AS p95_ms,
        CASE
            WHEN min(first_currency) = max(last_currency) THEN min(first_currency)
            WHEN min(first_named) = max(last_named) THEN min(first_named)
        END AS currency,
        CASE
            WHEN min(first_currency) IS NOT DISTINCT FROM max(last_currency)
            THEN (sum(cost_nano)::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9)
        END AS known_cost,
        sum(unknown_cost_attempts)::BIGINT AS unknown_cost_attempts,
        sum(unknown_cost_attempts) / sum(attempts) AS unknown_cost_share
    FROM arms
    LEFT JOIN calls USING (decision_id)
    WHERE executed
    GROUP BY control_digest, candidate_digest, mode, arm, simulated
),
nowhere AS (
    SELECT control_digest, candidate_digest, mode, arm, true AS with_dead_ends, count(*) AS dead_ends
    FROM arms
    WHERE NOT executed
    GROUP BY ALL
)
SELECT
    control_digest,
    candidate_digest,
    mode,
    arm,
    simulated,
    coalesce(executed, 0) + coalesce(dead_ends, 0) AS decisions,
    coalesce(dead_ends, 0) AS dead_ends,
    coalesce(answered, 0) AS answered,
    coalesce(answered, 0) / (coalesce(executed, 0) + coalesce(dead_ends, 0)) AS success_share,
    p50_ms,
    p95_ms,
    known_cost,
    currency,
    unknown_cost_attempts,
    unknown_cost_share,
    coalesce(answered_by_fallback, 0) AS answered_by_fallback
FROM done
FULL JOIN nowhere USING (control_digest, candidate_digest, mode, arm, with_dead_ends);

COMMENT ON VIEW rollout_arms IS
    'Each arm of each rollout as it was executed. `dead_ends` are decisions without a target, and stand beside what '
    'was real where some was simulated; `answered` is what got an answer, an ensemble''s too; cost is that of the calls '
    'whose cost is known, and NULL where it came in two currencies, of which a cost of 0 is none.';
