-- How often each rule won, held (also behind an earlier winner), and could not be told, by day.
SELECT
    day,
    policy_name,
    policy_digest,
    entry.key AS rule,
    team,
    user,
    count(*) AS decisions,
    count(*) FILTER (entry.key = matched_rule) AS won,
    count(*) FILTER (entry.value) AS held,
    count(*) FILTER (entry.value IS NULL) AS unknown,
    mode,
    simulated,
    import
FROM (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        d.policy_digest,
        d.matched_rule,
        {{whose}},
        d.mode,
        d.import,
        unnest(map_entries(d.verdicts)) AS entry,
        beside.decision_id IS NOT NULL AS simulated
    FROM {{decisions}} AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
)
GROUP BY ALL
