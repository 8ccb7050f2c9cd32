-- One row for each decision made beside a shadow: where the control sent it, and where the candidate would have. `differs` is of outcome and target; `plan_differs` of fallbacks, steps and ensemble too, which no estimate counts. Both are NULL where the candidate could not decide it.
WITH costed AS (
    SELECT
        *,
        list_filter(candidates, lambda one: one['model'] = target)[1] AS estimated,
        -- Who would be called: not what limits it, which is each policy's and the same for all its decisions.
        [outcome, plan['target']::VARCHAR, plan['fallbacks']::VARCHAR, plan['steps']::VARCHAR, plan['ensemble']::VARCHAR] AS called
    FROM {{decisions}}
    WHERE arm IS NOT NULL
)
SELECT
    d.decision_id::VARCHAR COLLATE NOCASE AS decision_id,
    s.decision_id::VARCHAR AS shadow_id,
    make_timestamptz(d.at_us) AS decided_at,
    make_timestamptz(d.at_us)::DATE AS day,
    d.operation,
    d.control_digest,
    d.candidate_digest,
    d.matched_rule AS control_rule,
    s.matched_rule AS candidate_rule,
    d.outcome AS control_outcome,
    s.outcome AS candidate_outcome,
    d.target AS control_target,
    s.target AS candidate_target,
    CASE
        WHEN s.decision_id IS NOT NULL
        THEN d.outcome IS DISTINCT FROM s.outcome OR d.target IS DISTINCT FROM s.target
    END AS differs,
    CASE WHEN s.decision_id IS NOT NULL THEN d.called IS DISTINCT FROM s.called END AS plan_differs,
    CASE WHEN d.estimated['currency'] IN ({{codes}}) THEN (d.estimated['estimated_cost_nano']::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) END AS control_estimated_cost_{{currency}},
    CASE WHEN s.estimated['currency'] IN ({{codes}}) THEN (s.estimated['estimated_cost_nano']::DECIMAL(27, 0) * 0.000000001)::DECIMAL(27, 9) END AS candidate_estimated_cost_{{currency}},
    d.team,
    d.user,
    d.tags,
    d.mode,
    beside.decision_id IS NOT NULL AS simulated,
    d.import
FROM costed AS d
LEFT JOIN costed AS s ON s.shadow_of = d.decision_id
LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
WHERE d.arm = 'control' AND d.mode = 'exploit' AND d.arm_probability = 1
