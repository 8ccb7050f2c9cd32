-- How often each declared feature had no value (not given, or given as null), or only its default, by day.
WITH alike AS (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_part,
        d.sources,
        -- Only what was given can have been given as null.
        CASE
            WHEN contains(d.sources, 'g') AND contains(d.features::JSON::VARCHAR, ':null') THEN d.features::JSON
        END AS nulls,
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
        d.feature_sources,
        CASE WHEN contains(d.features::JSON::VARCHAR, ':null') THEN d.features::JSON END AS nulls,
        coalesce(d.tags['team'], TRY_CAST(d.features['team'] AS VARCHAR)) AS team,
        coalesce(d.tags['user'], TRY_CAST(d.features['user'] AS VARCHAR)) AS "user",
        d.mode,
        beside.decision_id IS NOT NULL AS simulated,
        count(*) AS decisions
    FROM decisions_1 AS d
    LEFT JOIN {{simulated}} AS beside ON beside.decision_id = d.decision_id
    GROUP BY ALL
),
bound AS (
    SELECT
        a.* EXCLUDE (policy_part, sources),
        y.value ->> '$.policy.name' AS policy_name,
        unnest(y.value ->> '$.features[*].name') AS feature,
        unnest(string_split(a.sources, '')) AS source
    FROM alike AS a
    JOIN parts AS y ON y.part = a.policy_part
    UNION ALL BY NAME
    SELECT
        * EXCLUDE (feature_sources),
        unnest(map_keys(feature_sources)) AS feature,
        unnest(list_transform(map_values(feature_sources), lambda one: CASE one WHEN 'derived' THEN 'r' ELSE one[1] END)) AS source
    FROM alike_1
)
SELECT
    day,
    policy_name,
    feature,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(decisions) FILTER (source = 'u'), 0)::BIGINT AS unknown,
    coalesce(sum(decisions) FILTER (source = 'g' AND json_type(nulls, '$."' || feature || '"') = 'NULL'), 0)::BIGINT
        AS given_as_null,
    coalesce(sum(decisions) FILTER (source = 'd'), 0)::BIGINT AS defaulted,
    mode,
    simulated,
    NULL::VARCHAR AS import
FROM bound
WHERE source <> 'i'
GROUP BY ALL
