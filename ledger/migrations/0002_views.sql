-- The views people start from. Simulated calls and real ones are never mixed in one row. What was not executed
-- (shadows and dry runs) has no calls, and is left out wherever decisions are counted.

CREATE VIEW decisions_flat AS
WITH executed AS (
    SELECT
        decision_id,
        count(*) AS attempts,
        arg_max(status, number) FILTER (role IN ('answer', 'fallback', 'retry')) AS last_status,
        arg_max(model_id, number)
            FILTER (role IN ('answer', 'fallback', 'retry') AND status IN ('ok', 'cached')) AS answered_by,
        (max(started_at_us + total_us) - min(started_at_us)) / 1000 AS latency_ms,
        sum(cost_nano)::HUGEINT AS known_cost_nano,
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_attempts,
        CASE WHEN count(DISTINCT currency) = 1 THEN max(currency) END AS currency,
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
        -- What a model said is no answer where a step refused it, or an ensemble came to nothing.
        WHEN e.last_status IN ('ok', 'cached') OR (e.attempts > 0 AND e.last_status IS NULL) THEN 'failed'
        ELSE e.last_status
    END AS status,
    coalesce(e.attempts, 0) AS attempts,
    e.latency_ms,
    CASE WHEN e.currency IS NOT NULL THEN e.known_cost_nano END AS known_cost_nano,
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
    'One row for each decision, shadows too (`mode`), with what came of executing it. Cost is NULL when attempts '
    'had two currencies; `answered_by` too where an ensemble `answered`, as no one model did.';

CREATE VIEW attempts_flat AS
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
    d.tags
FROM attempts AS a
JOIN decisions AS d ON d.decision_id = a.decision_id;

COMMENT ON VIEW attempts_flat IS
    'One row for each call of a backend, with the decision behind it. Cost is in whole units of its currency.';

CREATE VIEW routing_daily AS
SELECT
    decided_at::DATE AS day,
    policy_name,
    mode,
    operation,
    outcome,
    matched_rule,
    target,
    count(*) AS decisions,
    count(*) FILTER (attempts > 0) AS executed
FROM decisions_flat
WHERE mode NOT IN ('shadow', 'dry_run')
GROUP BY ALL;

COMMENT ON VIEW routing_daily IS 'How many decisions went where, by day (UTC), policy, mode, rule and target.';

CREATE VIEW model_latency AS
WITH calls AS (
    -- Loading a model is not slowness, so it is taken out and counted by itself.
    SELECT
        model_id,
        simulated,
        coalesce(load_us, 0) > 0 AS loaded,
        (total_us - coalesce(load_us, 0)) / 1000 AS ms,
        (first_token_us - coalesce(load_us, 0)) / 1000 AS first_token_ms
    FROM attempts
    WHERE status = 'ok' AND NOT cached_answer
)
SELECT
    model_id,
    simulated,
    count(*) AS calls,
    count(*) FILTER (loaded) AS calls_with_load,
    quantile_cont(ms, 0.5) AS p50_ms,
    quantile_cont(ms, 0.95) AS p95_ms,
    quantile_cont(ms, 0.99) AS p99_ms,
    quantile_cont(first_token_ms, 0.5) AS first_token_p50_ms,
    quantile_cont(first_token_ms, 0.95) AS first_token_p95_ms
FROM calls
GROUP BY ALL;

COMMENT ON VIEW model_latency IS
    'How long each model''s successful calls took, in milliseconds, without the time spent on loading it.';

CREATE VIEW success_rate AS
SELECT
    model_id,
    backend_id,
    simulated,
    count(*) AS attempts,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (status = 'partial') AS partial,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'ok') / count(*) AS success_rate,
    histogram(error_class) FILTER (error_class IS NOT NULL) AS error_classes
FROM attempts
WHERE status NOT IN ('cached', 'skipped')
GROUP BY ALL;

COMMENT ON VIEW success_rate IS 'How often each model answered, and the kinds of failures when it did not.';

CREATE VIEW fallback_frequency AS
SELECT
    policy_name,
    matched_rule,
    target,
    simulated,
    count(*) AS executed,
    count(*) FILTER (attempts > 1) AS fell_back,
    count(*) FILTER (NOT answered) AS unanswered,
    count(*) FILTER (attempts > 1) / count(*) AS fallback_rate,
    histogram(answered_by) FILTER (answered_by <> target) AS answered_instead
FROM (
    SELECT
        d.policy_name,
        d.matched_rule,
        d.target,
        d.simulated,
        d.answered_by,
        d.answered,
        (SELECT count(*) FROM attempts AS a
         WHERE a.decision_id = d.decision_id AND a.role IN ('answer', 'fallback')) AS attempts
    FROM decisions_flat AS d
    WHERE d.attempts > 0 AND d.mode NOT IN ('shadow', 'dry_run')
)
GROUP BY ALL;

COMMENT ON VIEW fallback_frequency IS
    'Of the decisions executed, how many needed a fallback, and which models answered in place of the target.';

CREATE VIEW cost_daily AS
WITH calls AS (
    SELECT make_timestamp(started_at_us)::DATE AS day, model_id, simulated, currency, cost_nano
    FROM attempts
    WHERE status <> 'skipped'
),
all_calls AS (
    SELECT
        day,
        model_id,
        simulated,
        count(*) AS attempts,
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_attempts
    FROM calls
    GROUP BY ALL
),
known AS (
    SELECT
        day,
        model_id,
        simulated,
        currency,
        (sum(cost_nano)::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) AS known_cost
    FROM calls
    WHERE cost_nano IS NOT NULL
    GROUP BY ALL
)
SELECT
    c.day,
    c.model_id,
    c.simulated,
    k.currency,
    k.known_cost,
    c.attempts,
    c.unknown_cost_attempts,
    c.unknown_cost_attempts / c.attempts AS unknown_cost_share
FROM all_calls AS c
LEFT JOIN known AS k
    ON k.day = c.day AND k.model_id = c.model_id AND k.simulated = c.simulated;

COMMENT ON VIEW cost_daily IS
    'Known cost by day (UTC), model and currency, beside the share of the day''s attempts whose cost is unknown.';

CREATE VIEW unknown_features AS
SELECT
    policy_name,
    entry.key AS feature,
    count(*) AS decisions,
    count(*) FILTER (entry.value = 'unknown') AS unknown,
    count(*) FILTER (entry.value = 'default') AS defaulted,
    count(*) FILTER (entry.value = 'unknown') / count(*) AS unknown_rate
FROM (SELECT policy_name, unnest(map_entries(feature_sources)) AS entry FROM decisions
      WHERE mode NOT IN ('shadow', 'dry_run'))
WHERE entry.value <> 'ignored'
GROUP BY ALL;

COMMENT ON VIEW unknown_features IS 'How often each declared feature had no value, or only its default.';

CREATE VIEW rule_hits AS
SELECT
    policy_name,
    policy_digest,
    entry.key AS rule,
    count(*) AS decisions,
    count(*) FILTER (entry.key = matched_rule) AS won,
    count(*) FILTER (entry.value) AS held,
    count(*) FILTER (entry.value IS NULL) AS unknown,
    count(*) FILTER (entry.key = matched_rule) / count(*) AS win_rate
FROM (
    SELECT policy_name, policy_digest, matched_rule, unnest(map_entries(verdicts)) AS entry
    FROM decisions
    WHERE mode NOT IN ('shadow', 'dry_run')
)
GROUP BY ALL;

COMMENT ON VIEW rule_hits IS
    'How often each rule won, held (also behind an earlier winner), and could not be told.';

CREATE VIEW rollout_differences AS
WITH costed AS (
    SELECT
        *,
        list_filter(candidates, lambda one: one.model = target)[1] AS estimated,
        -- Who would be called: not what limits it, which is each policy's and the same for all its decisions.
        [outcome, plan.target::VARCHAR, plan.fallbacks::VARCHAR, plan.steps::VARCHAR, plan.ensemble::VARCHAR] AS called
    FROM decisions
    WHERE arm IS NOT NULL
)
SELECT
    c.decision_id,
    s.decision_id AS shadow_id,
    make_timestamp(c.at_us) AS decided_at,
    c.operation,
    c.control_digest,
    c.candidate_digest,
    c.matched_rule AS control_rule,
    s.matched_rule AS candidate_rule,
    c.outcome AS control_outcome,
    s.outcome AS candidate_outcome,
    c.target AS control_target,
    s.target AS candidate_target,
    CASE
        WHEN s.decision_id IS NOT NULL
        THEN c.outcome IS DISTINCT FROM s.outcome OR c.target IS DISTINCT FROM s.target
    END AS differs,
    CASE WHEN s.decision_id IS NOT NULL THEN c.called IS DISTINCT FROM s.called END AS plan_differs,
    c.estimated.estimated_cost_nano AS control_estimated_cost_nano,
    c.estimated.currency AS control_currency,
    s.estimated.estimated_cost_nano AS candidate_estimated_cost_nano,
    s.estimated.currency AS candidate_currency,
    c.features,
    c.tags
FROM costed AS c
LEFT JOIN costed AS s ON s.shadow_of = c.decision_id
WHERE c.arm = 'control' AND c.mode = 'exploit' AND c.arm_probability = 1;

COMMENT ON VIEW rollout_differences IS
    'One row for each decision made beside a shadow: where the control sent it, and where the candidate would have. '
    '`differs` is of outcome and target; `plan_differs` of fallbacks, steps and ensemble too, which no estimate '
    'counts. Both are NULL where the candidate could not decide it.';

CREATE VIEW rollout_arms AS
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
        CASE WHEN count(DISTINCT currency) = 1 THEN max(currency) END AS currency
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
        CASE WHEN count(DISTINCT currency) = 1 THEN max(currency) END AS currency,
        CASE
            WHEN count(DISTINCT currency) = 1
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
    'was real where some was simulated; `answered` is what got an answer, an ensemble''s too; cost is NULL when '
    'calls had two currencies, and is that of the calls whose cost is known.';
