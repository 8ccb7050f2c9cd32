-- How often each rule won, held (also behind an earlier winner), and could not be told, by day.
WITH alike AS (
    -- Few lists of verdicts are repeated by most decisions: taking each apart once is much less work.
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        d.policy_digest,
        d.matched_rule,
        d.verdicts,
        {{whose}},
        d.mode,
        beside.decision_id IS NOT NULL AS simulated,
        d.import,
        count(*) AS decisions
    FROM {{decisions}} AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
    GROUP BY ALL
)
SELECT
    day,
    policy_name,
    policy_digest,
    entry['key'] AS rule,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(decisions) FILTER (entry['key'] = matched_rule), 0)::BIGINT AS won,
    coalesce(sum(decisions) FILTER (entry['value']), 0)::BIGINT AS held,
    coalesce(sum(decisions) FILTER (entry['value'] IS NULL), 0)::BIGINT AS unknown,
    mode,
    simulated,
    import
FROM (SELECT *, unnest(map_entries(verdicts)) AS entry FROM alike)
GROUP BY ALL
