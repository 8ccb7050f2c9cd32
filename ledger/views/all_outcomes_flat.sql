-- One row for each answer of which something was found out, by source: numbers are in `scores` and texts in `labels`, by metric; what was corrected is not there. `model_id` is the model that gave the answer.
WITH found AS (
    SELECT
        decision_id, attempt, model_id, source, import,
        max(at_us) AS at_us,
        map_from_entries(list({'key': metric, 'value': value} ORDER BY metric) FILTER (value IS NOT NULL)) AS scores,
        map_from_entries(list({'key': metric, 'value': label} ORDER BY metric) FILTER (label IS NOT NULL)) AS labels
    FROM {{outcomes}}
    GROUP BY ALL
)
SELECT
    o.decision_id::VARCHAR COLLATE "NOCASE.NOACCENT" AS decision_id,
    make_timestamptz(d.at_us) AS decided_at,
    make_timestamptz(d.at_us)::DATE AS day,
    d.operation,
    d.mode,
    d.policy_name,
    d.policy_digest,
    d.matched_rule,
    d.target,
    o.attempt,
    CASE WHEN o.model_id IS NOT NULL THEN o.model_id WHEN o.attempt IS NOT NULL THEN own.model_id WHEN given.role IN ('answer', 'fallback', 'retry') THEN given.model_id END AS model_id,
    coalesce(o.scores, MAP {}) AS scores,
    coalesce(o.labels, MAP {}) AS labels,
    o.source,
    make_timestamptz(o.at_us) AS found_at,
    d.team,
    d.user,
    d.tags,
    d.session_id,
    d.trace_id,
    d.arm,
    beside.decision_id IS NOT NULL AS simulated,
    o.import
FROM found AS o
JOIN {{decisions}} AS d ON d.decision_id = o.decision_id
LEFT JOIN {{attempts}} AS own ON own.decision_id = o.decision_id AND own.number = o.attempt
LEFT JOIN {{attempts}} AS given ON given.decision_id = o.decision_id AND given.number = d.answered_attempt
LEFT JOIN {{simulated}} AS beside ON beside.decision_id = o.decision_id
