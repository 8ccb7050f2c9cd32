-- How often each rule won, held (also behind an earlier winner), and could not be told, by day.
WITH alike AS (
    -- Few lists of verdicts are repeated by most decisions: each is taken apart once.
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_part,
        d.plan_part,
        d.verdicts,
        d.team,
        d.user,
        d.mode,
        beside.decision_id IS NOT NULL AS simulated,
        count(*) AS decisions
    FROM decision_rows AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
    GROUP BY ALL
),
alike_1 AS (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        d.policy_digest,
        d.matched_rule,
        d.verdicts,
        coalesce(d.tags['team'], TRY_CAST(d.features['team'] AS VARCHAR)) AS team,
        coalesce(d.tags['user'], TRY_CAST(d.features['user'] AS VARCHAR)) AS "user",
        d.mode,
        beside.decision_id IS NOT NULL AS simulated,
        count(*) AS decisions
    FROM decisions_1 AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
    GROUP BY ALL
),
judged AS (
    SELECT
        a.* EXCLUDE (policy_part, plan_part, verdicts),
        y.value ->> '$.policy.name' AS policy_name,
        y.value ->> '$.policy.digest' AS policy_digest,
        p.value ->> '$.rule' AS matched_rule,
        unnest(from_json(y.value -> '$.rules', '["VARCHAR"]')) AS rule,
        unnest(string_split(a.verdicts, '')) AS verdict
    FROM alike AS a
    JOIN parts AS y ON y.part = a.policy_part
    JOIN parts AS p ON p.part = a.plan_part
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (verdicts),
        unnest(map_keys(verdicts)) AS rule,
        unnest(list_transform(map_values(verdicts), lambda one: CASE WHEN one THEN 't' WHEN NOT one THEN 'f' ELSE 'u' END))
            AS verdict
    FROM alike_1
)
SELECT
    day,
    policy_name,
    policy_digest,
    rule,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(decisions) FILTER (rule = matched_rule), 0)::BIGINT AS won,
    coalesce(sum(decisions) FILTER (verdict = 't'), 0)::BIGINT AS held,
    coalesce(sum(decisions) FILTER (verdict = 'u'), 0)::BIGINT AS unknown,
    mode,
    simulated,
    NULL::VARCHAR AS import
FROM judged
GROUP BY ALL
