-- How often each rule won, held (also behind an earlier winner), and could not be told, by day.
WITH alike AS MATERIALIZED (
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
policies AS MATERIALIZED (
    SELECT
        part,
        value ->> '$.policy.name' AS policy_name,
        value ->> '$.policy.digest' AS policy_digest,
        from_json(value -> '$.rules', '["VARCHAR"]') AS rules
    FROM parts
    WHERE kind = 'policy'
),
-- Few lists of verdicts are repeated by most decisions, and most verdicts in them are false: each is taken apart once.
apart AS (
    SELECT *
    FROM (
        SELECT
            policy_part, plan_part, verdicts,
            unnest(rules) AS rule,
            unnest(string_split(verdicts, '')) AS verdict,
            p.value ->> '$.rule' AS matched_rule
        FROM (SELECT DISTINCT policy_part, plan_part, verdicts FROM alike)
        JOIN policies AS y ON y.part = policy_part
        JOIN parts AS p ON p.part = plan_part
    )
    WHERE verdict <> 'f' OR rule = matched_rule
),
counted AS (
    SELECT
        a.day, a.policy_part, x.rule, a.team, a.user, a.mode, a.simulated,
        0 AS decisions,
        sum(a.decisions) FILTER (x.rule = x.matched_rule) AS won,
        sum(a.decisions) FILTER (x.verdict = 't') AS held,
        sum(a.decisions) FILTER (x.verdict = 'u') AS unknown
    FROM alike AS a
    JOIN apart AS x ON x.verdicts = a.verdicts AND x.plan_part = a.plan_part AND x.policy_part = a.policy_part
    GROUP BY ALL
    UNION ALL
    SELECT day, policy_part, unnest(rules), team, "user", mode, simulated, decisions, 0, 0, 0
    FROM (SELECT * EXCLUDE (plan_part, verdicts, decisions), sum(decisions) AS decisions FROM alike GROUP BY ALL)
    JOIN policies ON part = policy_part
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
    SELECT c.* EXCLUDE (policy_part), y.policy_name, y.policy_digest
    FROM counted AS c
    JOIN policies AS y ON y.part = c.policy_part
    UNION ALL BY NAME
    SELECT
        day, policy_name, policy_digest, rule, team, "user", mode, simulated, decisions,
        CASE WHEN rule = matched_rule THEN decisions END AS won,
        CASE WHEN held THEN decisions END AS held,
        CASE WHEN held IS NULL THEN decisions END AS unknown
    FROM (SELECT *, unnest(map_keys(verdicts)) AS rule, unnest(map_values(verdicts)) AS held FROM alike_1)
)
SELECT
    day,
    policy_name,
    policy_digest,
    rule,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(won), 0)::BIGINT AS won,
    coalesce(sum(held), 0)::BIGINT AS held,
    coalesce(sum(unknown), 0)::BIGINT AS unknown,
    mode,
    simulated,
    NULL::VARCHAR AS import
FROM judged
GROUP BY ALL
