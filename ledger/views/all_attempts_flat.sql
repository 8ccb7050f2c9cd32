-- One row for each call of a model, with the decision behind it. `latency_ms` is without the time for loading, and NULL where the model did not answer: then `failed_after_ms` says how long that took.
SELECT
    a.decision_id::VARCHAR COLLATE NOACCENT AS decision_id,
    a.number,
    make_timestamptz(a.started_at_us) AS started_at,
    make_timestamptz(a.started_at_us)::DATE AS day,
    d.operation,
    d.mode,
    d.policy_name,
    d.policy_digest,
    d.matched_rule,
    d.target,
    a.role,
    a.model_id,
    a.backend_id,
    coalesce(a.location, 'unknown') AS location,
    a.host,
    a.model_said,
    a.status,
    -- What came of a call that another router logged may be unknown.
    coalesce(a.status NOT IN ('skipped', 'cached'), true) AS called,
    a.error_class,
    a.finish_reason,
    a.streamed,
    CASE WHEN a.status = 'ok' THEN (a.total_us - coalesce(a.load_us, 0)) / 1000 END AS latency_ms,
    CASE WHEN a.status = 'ok' THEN a.load_us / 1000 END AS load_ms,
    CASE WHEN a.status = 'ok' THEN (a.first_token_us - coalesce(a.load_us, 0)) / 1000 END AS first_token_ms,
    CASE WHEN a.status = 'ok' THEN a.total_us / 1000 END AS total_ms,
    CASE WHEN a.status IN ('failed', 'partial') THEN a.total_us / 1000 END AS failed_after_ms,
    -- No tokens of a call that was refused say nothing of how long answers are.
    CASE WHEN a.status = 'ok' OR a.input_tokens <> 0 THEN a.input_tokens END AS input_tokens,
    CASE WHEN a.status = 'ok' OR a.cached_input_tokens <> 0 THEN a.cached_input_tokens END AS cached_input_tokens,
    CASE WHEN a.status = 'ok' OR a.output_tokens <> 0 THEN a.output_tokens END AS output_tokens,
    CASE WHEN a.status = 'ok' OR a.reasoning_tokens <> 0 THEN a.reasoning_tokens END AS reasoning_tokens,
    a.tokens_source,
    CASE WHEN a.currency IN ({{codes}}) AND (a.cost_nano <> 0 OR a.status = 'ok') THEN (a.cost_nano::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) END AS known_cost_{{currency}},
    CASE WHEN a.cost_nano IS NULL THEN 1 ELSE 0 END AS unknown_cost_calls,
    CASE WHEN a.cost_nano IS NOT NULL AND a.cost_source = 'lower_bound' THEN 1 ELSE 0 END AS lower_bound_calls,
    CASE WHEN a.currency IN ({{codes}}) AND a.status = 'cached' THEN (a.saved_nano::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) END AS known_saved_{{currency}},
    a.cost_source,
    a.price_since,
    a.reason,
    {{features}}
    d.team,
    d.user,
    d.tags,
    d.session_id,
    d.trace_id,
    d.arm,
    -- A call that was passed over belongs to the calls beside it.
    a.simulated OR beside.decision_id IS NOT NULL AS simulated,
    a.import
FROM {{attempts}} AS a
JOIN {{decisions}} AS d ON d.decision_id = a.decision_id
LEFT JOIN {{simulated}} AS beside ON beside.decision_id = a.decision_id AND a.status IN ('skipped', 'cached')
{{policy}}
