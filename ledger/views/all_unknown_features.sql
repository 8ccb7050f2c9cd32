-- How often each declared feature had no value (not given, or given as null), or only its default, by day.
SELECT
    day,
    policy_name,
    feature,
    team,
    user,
    count(*) AS decisions,
    count(*) FILTER (source = 'unknown') AS unknown,
    count(*) FILTER (source = 'given' AND no_value) AS given_as_null,
    count(*) FILTER (source = 'default') AS defaulted,
    mode,
    simulated,
    import
FROM (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        {{whose}},
        d.mode,
        d.import,
        d.entry.key AS feature,
        d.entry.value AS source,
        -- Only what was given can have been given as null.
        d.entry.value = 'given' AND coalesce(json_type(d.features::JSON, '$."' || d.entry.key || '"'), 'NULL') = 'NULL' AS no_value,
        beside.decision_id IS NOT NULL AS simulated
    FROM (SELECT *, unnest(map_entries(feature_sources)) AS entry FROM {{decisions}}) AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
)
WHERE source <> 'ignored'
GROUP BY ALL
