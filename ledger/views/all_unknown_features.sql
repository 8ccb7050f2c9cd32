-- How often each declared feature had no value (not given, or given as null), or only its default, by day.
WITH alike AS MATERIALIZED (
    SELECT
        make_timestamptz(d.at_us)::DATE AS day,
        d.policy_part,
        d.sources,
        -- Only what was given can have been given as null. Nothing was if all have a value that are not unknown.
        CASE
            WHEN contains(d.sources, 'g') AND (d.ignored IS NOT NULL OR len(replace(d.sources, 'u', '')) <> 0
                + (d.features[{{feature}}] IS NOT NULL)::INTEGER
            )
            THEN d.features::JSON
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
policies AS MATERIALIZED (
    SELECT
        part,
        value ->> '$.policy.name' AS policy_name,
        (value ->> '$.features[*].name') AS names
    FROM parts
    WHERE kind = 'policy'
),
-- Most features have their default, as these say themselves: each list of letters is taken apart once, without it.
apart AS (
    SELECT *
    FROM (
        SELECT policy_part, sources, unnest(names) AS feature, unnest(string_split(sources, '')) AS source
        FROM (SELECT DISTINCT policy_part, sources FROM alike) JOIN policies ON part = policy_part
    )
    WHERE source <> 'd'
),
counted AS (
    SELECT
        a.day, a.policy_part, x.feature, a.team, a.user, a.mode, a.simulated,
        0 AS decisions,
        sum(a.decisions) FILTER (x.source = 'u') AS unknown,
        sum(a.decisions) FILTER (x.source = 'g' AND json_type(a.nulls, '$."' || x.feature || '"') = 'NULL') AS given_as_null,
        -sum(a.decisions) AS defaulted
    FROM alike AS a
    JOIN apart AS x ON x.sources = a.sources AND x.policy_part = a.policy_part
    GROUP BY ALL
    UNION ALL
    SELECT day, policy_part, unnest(names), team, "user", mode, simulated, decisions, 0, 0, decisions
    FROM (SELECT * EXCLUDE (sources, nulls, decisions), sum(decisions) AS decisions FROM alike GROUP BY ALL)
    JOIN policies ON part = policy_part
),
bound AS (
    SELECT c.* EXCLUDE (policy_part), y.policy_name
    FROM counted AS c
    JOIN policies AS y ON y.part = c.policy_part
    UNION ALL BY NAME
    SELECT
        day, policy_name, feature, team, "user", mode, simulated, decisions,
        CASE WHEN source = 'unknown' THEN decisions END AS unknown,
        CASE WHEN source = 'given' AND json_type(nulls, '$."' || feature || '"') = 'NULL' THEN decisions END AS given_as_null,
        CASE WHEN source = 'default' THEN decisions END AS defaulted
    FROM (SELECT *, unnest(map_keys(feature_sources)) AS feature, unnest(map_values(feature_sources)) AS source FROM alike_1)
    WHERE source <> 'ignored'
)
SELECT
    day,
    policy_name,
    feature,
    team,
    user,
    sum(decisions)::BIGINT AS decisions,
    coalesce(sum(unknown), 0)::BIGINT AS unknown,
    coalesce(sum(given_as_null), 0)::BIGINT AS given_as_null,
    coalesce(sum(defaulted), 0)::BIGINT AS defaulted,
    mode,
    simulated,
    NULL::VARCHAR AS import
FROM bound
GROUP BY ALL
