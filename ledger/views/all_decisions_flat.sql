-- One row for each decision, with what came of it. `latency_ms` is NULL where no model answered; what failed says so in `failed_after_ms`.
WITH executed AS (
    SELECT
        decision_id,
        count(*) AS attempts,
        count(*) FILTER (coalesce(status NOT IN ('skipped', 'cached'), true)) AS calls,
        count(*) FILTER (status IN ('failed', 'partial')) AS failed_calls,
        -- The turn of a fallback comes after a call that failed or was skipped; a retry is of the same model.
        count(*) FILTER (role IN ('answer', 'fallback')) > 1 AS fell_back,
        arg_max(status, number) FILTER (role IN ('answer', 'fallback', 'retry')) AS last_status,
        arg_max(model_id, number)
            FILTER (role IN ('answer', 'fallback', 'retry') AND status IN ('ok', 'cached')) AS answered_by,
        bool_or(status = 'lost') AS lost,
        max(number) AS last_number,
        -- Few calls: that of a call that is not among them is `ok`.
        list({'number': number, 'status': status}) FILTER (status IS DISTINCT FROM 'ok') AS other,
        (max(started_at_us + total_us) - min(started_at_us)) / 1000 AS took_ms,
        -- What failed, was skipped or came from the cache for nothing is no cost that an average should count.
        sum(cost_nano) FILTER (currency IN ({{codes}}) AND (cost_nano <> 0 OR status = 'ok')) AS nano_{{currency}},
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_calls,
        count(*) FILTER (cost_nano IS NOT NULL AND cost_source = 'lower_bound') AS lower_bound_calls
    FROM {{attempts}}
    GROUP BY decision_id
),
joined AS (
    SELECT
        d.* EXCLUDE (simulated),
        e.* EXCLUDE (decision_id),
        CASE
            WHEN d.answered_attempt <= e.last_number AND e.other IS NULL THEN 'ok'
            WHEN d.answered_attempt <= e.last_number
            THEN coalesce(
                list_filter(e.other, lambda one: one['number'] = d.answered_attempt)[1],
                {'number': d.answered_attempt, 'status': 'ok'}
            )['status']
        END AS given_status,
        beside.decision_id IS NOT NULL OR coalesce(d.simulated, false) AS simulated
    FROM {{decisions}} AS d
    LEFT JOIN (SELECT DISTINCT decision_id FROM {{attempts}} WHERE simulated) AS beside ON beside.decision_id = d.decision_id
    -- The last: DuckDB leaves it out where nothing of it is asked.
    LEFT JOIN executed AS e ON e.decision_id = d.decision_id
    {{policy}}
)
SELECT
    d.decision_id::VARCHAR COLLATE NOCASE AS decision_id,
    make_timestamptz(d.at_us) AS decided_at,
    make_timestamptz(d.at_us)::DATE AS day,
    d.operation,
    d.outcome,
    d.mode,
    d.policy_name,
    d.policy_digest,
    d.matched_rule,
    d.reason,
    d.target,
    CASE WHEN d.answered_attempt IS NOT NULL THEN d.answered_by END AS answered_by,
    -- A source may say what became of calls, and not which of them was the answer.
    CASE WHEN d.import IS NULL OR d.answered_attempt IS NOT NULL OR d.last_status IN ('failed', 'lost') THEN d.answered_attempt IS NOT NULL END AS answered,
    CASE
        WHEN d.answered_attempt IS NOT NULL THEN d.given_status
        -- Whoever asked has heard nothing, whatever came of the calls before.
        WHEN d.lost THEN 'lost'
        WHEN d.import IS NOT NULL THEN d.last_status
        -- What a model said is no answer where a step refused it, or an ensemble came to nothing.
        WHEN d.last_status IN ('ok', 'cached') OR (d.attempts > 0 AND d.last_status IS NULL) THEN 'failed'
        ELSE d.last_status
    END AS status,
    coalesce(d.attempts, 0) > 0 AS executed,
    coalesce(d.given_status = 'cached', false) AS cached,
    coalesce(d.fell_back, false) AS fell_back,
    coalesce(d.calls, 0) AS calls,
    coalesce(d.failed_calls, 0) AS failed_calls,
    CASE WHEN d.given_status = 'ok' AND NOT d.lost THEN d.took_ms END AS latency_ms,
    CASE WHEN NOT answered AND d.calls > 0 AND NOT d.lost THEN d.took_ms END AS failed_after_ms,
    (d.nano_{{currency}}::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) AS known_cost_{{currency}},
    coalesce(d.unknown_cost_calls, 0) AS unknown_cost_calls,
    coalesce(d.lower_bound_calls, 0) AS lower_bound_calls,
    {{features}}
    d.team,
    d.user,
    d.tags,
    d.session_id,
    d.trace_id,
    d.deciding_ns / 1000 AS deciding_us,
    d.arm,
    d.arm_probability,
    d.control_digest,
    d.candidate_digest,
    d.shadow_of::VARCHAR AS shadow_of,
    d.simulated,
    d.import
FROM joined AS d
