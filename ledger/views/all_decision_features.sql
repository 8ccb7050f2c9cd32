-- One row for each feature of each decision, over all policies: its value stands in the column of its type, and in none where it is unknown. `source` says where it came from; an `ignored` one is not declared. `keeps_local` says whether it brings a constraint on `model.location` into force where it is true.
WITH policies AS NOT MATERIALIZED (
    SELECT
        part,
        value ->> '$.policy.name' AS policy_name,
        value ->> '$.policy.digest' AS policy_digest,
        (value ->> '$.features[*].name') AS names,
        policy_digest IN (SELECT digest FROM declarations WHERE kind = 'policy' AND error IS NULL) AS is_read
    FROM parts
    WHERE kind = 'policy'
),
-- What is read from the whole of the features: what is not declared, or by a policy that could not be read.
whole AS (
    SELECT
        d.decision_id, d.at_us, y.policy_name, y.policy_digest, d.mode, NULL::VARCHAR AS import, d.team, d.user,
        unnest(d.ignored) AS feature, 'i' AS letter, d.features
    FROM decision_rows AS d
    JOIN policies AS y ON y.part = d.policy_part
    WHERE d.ignored IS NOT NULL
    UNION ALL
    SELECT
        d.decision_id, d.at_us, y.policy_name, y.policy_digest, d.mode, NULL, d.team, d.user,
        y.names[y.slot], d.sources[y.slot], d.features
    FROM decision_rows AS d
    JOIN (SELECT *, unnest(range(1, len(names) + 1)) AS slot FROM policies WHERE NOT is_read) AS y ON y.part = d.policy_part
    UNION ALL
    SELECT
        decision_id, at_us, policy_name, policy_digest, mode, NULL,
        coalesce(tags['team'], TRY_CAST(features['team'] AS VARCHAR)),
        coalesce(tags['user'], TRY_CAST(features['user'] AS VARCHAR)),
        unnest(map_keys(feature_sources)), unnest(map_values(feature_sources)), features
    FROM decisions_1
    UNION ALL
    SELECT
        decision_id, at_us, NULL, NULL, 'imported', import, tags['team'], tags['user'],
        unnest(map_keys(feature_sources)), unnest(map_values(feature_sources)), features
    FROM imported_decisions
),
found AS (
    SELECT
        * EXCLUDE (features, value),
        CASE WHEN json_type(value) = 'BOOLEAN' THEN value::BOOLEAN END AS boolean,
        CASE WHEN json_type(value) IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE') THEN value::DOUBLE END AS number,
        CASE WHEN json_type(value) = 'VARCHAR' THEN value ->> '$' END AS text,
        CASE WHEN json_type(value) = 'ARRAY' THEN from_json(value, '["VARCHAR"]') END AS list
    FROM (SELECT *, from_json(features::JSON, '"MAP(VARCHAR, JSON)"')[feature] AS value FROM whole)
    -- Each feature by itself, as a question is of one: the others are not read.
    UNION ALL SELECT d.decision_id, d.at_us, y.policy_name, y.policy_digest, d.mode, NULL, d.team, d.user, {{feature}}, d.sources[y.slot], {{values}} FROM decision_rows AS d JOIN (SELECT *, list_position(names, {{feature}}) AS slot FROM policies WHERE is_read) AS y ON y.part = d.policy_part AND y.slot > 0
)
SELECT
    f.decision_id::VARCHAR COLLATE NFC AS decision_id,
    make_timestamptz(f.at_us) AS decided_at,
    make_timestamptz(f.at_us)::DATE AS day,
    f.policy_name,
    f.policy_digest,
    f.feature,
    CASE f.letter WHEN 'g' THEN 'given' WHEN 'r' THEN 'derived' WHEN 'd' THEN 'default' WHEN 'u' THEN 'unknown' WHEN 'i' THEN 'ignored' ELSE f.letter END AS source,
    f.boolean,
    f.number,
    f.text,
    f.list,
    list_contains({{local}}, f.feature) AS keeps_local,
    f.team,
    f.user,
    f.mode,
    beside.decision_id IS NOT NULL AS simulated,
    f.import
FROM found AS f
LEFT JOIN {{simulated}} AS beside ON beside.decision_id = f.decision_id
