-- How often each declared feature had no value (not given, or given as null), or only its default, by day.
WITH alike AS (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_name,
        d.feature_sources,
        -- Only what was given can have been given as null.
        CASE
            WHEN list_contains(map_values(d.feature_sources), 'given') AND d.features::JSON::VARCHAR LIKE '%:null%'
            THEN list_filter(
                map_keys(d.feature_sources),
                lambda name: d.feature_sources[name] = 'given'
                    AND coalesce(json_type(d.features::JSON, '$."' || name || '"'), 'NULL') = 'NULL'
            )
        END AS nulls,
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
    entry['key'] AS feature,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(decisions) FILTER (entry['value'] = 'unknown'), 0)::BIGINT AS unknown,
    coalesce(sum(decisions) FILTER (list_contains(nulls, entry['key'])), 0)::BIGINT AS given_as_null,
    coalesce(sum(decisions) FILTER (entry['value'] = 'default'), 0)::BIGINT AS defaulted,
    mode,
    simulated,
    import
FROM (SELECT *, unnest(map_entries(feature_sources)) AS entry FROM alike)
WHERE entry['value'] <> 'ignored'
GROUP BY ALL
