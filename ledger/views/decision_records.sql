-- One row for each decision of one's own, simulated ones and shadows too: what was chosen, and everything that decided it, put together from its parts.
WITH policy_parts AS (
    SELECT
        part,
        value->>'engine' AS engine_version,
        value->'policy'->>'name' AS policy_name,
        value->'policy'->>'digest' AS policy_digest,
        value->'catalog'->>'digest' AS catalog_digest,
        (value->>'$.features[*].name') AS feature_names,
        from_json(value->'rules', '["VARCHAR"]') AS rules,
        from_json(value->'quotas', '["VARCHAR"]') AS quotas
    FROM parts
    WHERE kind = 'policy'
),
plan_parts AS (
    SELECT
        part,
        value->>'outcome' AS outcome,
        value->>'rule' AS matched_rule,
        value->>'reason' AS reason,
        value->>'target' AS target,
        from_json(
            value->'candidates',
            '[{"model": "VARCHAR", "backend": "VARCHAR", "location": "VARCHAR", "origin": "VARCHAR", "eligible": "BOOLEAN", '
            '"gate": "VARCHAR", "detail": "VARCHAR", "probability": "DOUBLE", '
            '"price": {"input_nano": "BIGINT", "output_nano": "BIGINT", "currency": "VARCHAR"}}]'
        ) AS candidates,
        (value->'plan')::VARIANT AS plan
    FROM parts
    WHERE kind = 'plan'
),
arm_parts AS (
    SELECT
        part,
        value->>'arm' AS arm,
        (value->>'probability')::DOUBLE AS arm_probability,
        value->'control'->>'digest' AS control_digest,
        value->'candidate'->>'digest' AS candidate_digest
    FROM parts
    WHERE kind = 'arm'
)
SELECT
    d.decision_id,
    d.at_us,
    d.operation,
    p.outcome,
    d.mode,
    y.policy_name,
    y.policy_digest,
    y.catalog_digest,
    y.engine_version,
    p.matched_rule,
    p.reason,
    p.target,
    d.features,
    map_from_entries(list_concat(
        list_transform(y.feature_names, lambda name, i: {
            'key': name,
            'value': CASE WHEN map_contains(d.erased, 'features.' || name) THEN 'erased'
                WHEN d.sources[i] = 'g' THEN 'given' WHEN d.sources[i] = 'r' THEN 'derived'
                WHEN d.sources[i] = 'd' THEN 'default' ELSE 'unknown' END
        }),
        list_transform(coalesce(d.ignored, []), lambda name: {
            'key': name,
            'value': CASE WHEN map_contains(d.erased, 'ignored.' || name) THEN 'erased' ELSE 'ignored' END
        })
    )) AS feature_sources,
    map_from_entries(list_transform(y.rules, lambda name, i: {
        'key': name,
        'value': CASE d.verdicts[i] WHEN 't' THEN true WHEN 'f' THEN false END
    })) AS verdicts,
    list_transform(p.candidates, lambda one: {
        'model': one['model'],
        'backend': one['backend'],
        'location': one['location'],
        'origin': one['origin'],
        'eligible': one['eligible'],
        'failed_gate': one['gate'],
        'detail': coalesce(d.details[one['model']], one['detail']),
        'probability': one['probability'],
        -- The engine's estimate; beyond an exact number of JSON it has none.
        'estimated_cost_nano': list_filter([(
            one['price']['input_nano']::HUGEINT * coalesce(d.prompt_tokens, 1000)
            + one['price']['output_nano']::HUGEINT
                * CASE WHEN d.operation = 'chat' THEN coalesce(d.request['max_output_tokens'], 1000) ELSE 0 END
        ) // 1000000], lambda nano: nano < 9007199254740992)[1],
        'currency': one['price']['currency']
    }) AS candidates,
    p.plan,
    coalesce(map(y.quotas, d.quota_used), MAP {}) AS quota_used,
    d.team,
    d.user,
    coalesce(d.tags, MAP {}) AS tags,
    CASE WHEN d.request['metadata']['session'] <> '' THEN d.request['metadata']['session'] END AS session_id,
    d.trace_id,
    'sha256:' || lower(hex(d.digest)) AS record_digest,
    d.deciding_ns,
    a.arm,
    a.arm_probability,
    a.control_digest,
    a.candidate_digest,
    d.shadow_of,
    d.answered_attempt,
    d.simulated
FROM {{decision_rows}} AS d
JOIN policy_parts AS y ON y.part = d.policy_part
JOIN plan_parts AS p ON p.part = d.plan_part
LEFT JOIN arm_parts AS a ON a.part = d.arm_part
UNION ALL
SELECT
    decision_id,
    at_us,
    operation,
    outcome,
    mode,
    policy_name,
    policy_digest,
    catalog_digest,
    engine_version,
    matched_rule,
    reason,
    target,
    {{features}},
    feature_sources,
    verdicts,
    list_transform(candidates, lambda one: {
        'model': one['model'],
        'backend': NULL::VARCHAR,
        'location': NULL::VARCHAR,
        'origin': one['origin'],
        'eligible': one['eligible'],
        'failed_gate': one['failed_gate'],
        'detail': one['detail'],
        'probability': one['probability'],
        'estimated_cost_nano': one['estimated_cost_nano']::HUGEINT,
        'currency': one['currency']
    }),
    plan,
    coalesce(from_json(state['quota_used']::JSON, '"MAP(VARCHAR, BIGINT)"'), MAP {}),
    coalesce(tags['team'], TRY_CAST(features['team'] AS VARCHAR)),
    coalesce(tags['user'], TRY_CAST(features['user'] AS VARCHAR)),
    tags,
    session_id,
    trace_id,
    record_digest,
    deciding_ns,
    arm,
    arm_probability,
    control_digest,
    candidate_digest,
    shadow_of,
    answered_attempt,
    NULL::BOOLEAN
FROM decisions_1 AS d
