-- How much of each quota was used, by day, and by the team or user that it is for: the highest and the last number that a decision of that day saw before its own calls. Money is in whole units of `currency`.
SELECT
    day,
    policy_name,
    quota,
    unit,
    currency,
    per,
    for_each,
    CASE WHEN for_each = 'team' THEN whose END AS team,
    CASE WHEN for_each = 'user' THEN whose END AS user,
    whose,
    max("limit") AS "limit",
    max(used) AS highest_used,
    arg_max(used, decided_at) AS last_used,
    max(decided_at) AS last_at,
    mode,
    simulated,
    import
FROM (
    SELECT
        make_timestamptz(d.at_us) AS decided_at,
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        declared.name AS quota,
        declared.unit,
        declared.currency,
        declared.per,
        declared.for_each,
        {{whose}} AS whose,
        (declared.limit * declared.whole)::DECIMAL(27, 9) AS "limit",
        (d.quota_used[declared.name]::DECIMAL(27, 0) * declared.whole)::DECIMAL(27, 9) AS used,
        d.mode,
        d.import,
        beside.decision_id IS NOT NULL AS simulated
    FROM {{decisions}} AS d
    JOIN (
        SELECT
            digest,
            quota['name'] AS name,
            quota['unit'] AS unit,
            quota['limit'] AS "limit",
            quota['currency'] AS currency,
            quota['per'] AS per,
            quota['for_each'] AS for_each,
            CASE WHEN quota['unit'] = 'cost' THEN 0.000000001 ELSE 1 END AS whole
        FROM (SELECT digest, unnest(quotas) AS quota FROM declarations)
    ) AS declared ON declared.digest = d.policy_digest
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
)
WHERE used IS NOT NULL
GROUP BY ALL
