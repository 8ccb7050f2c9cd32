-- One row for each feature of each decision, over all policies: its value stands in the column of its type, and in none where it is unknown. `source` says where it came from; an `ignored` one is not declared.
SELECT
    f.decision_id::VARCHAR COLLATE NFC AS decision_id,
    make_timestamptz(f.at_us) AS decided_at,
    make_timestamptz(f.at_us)::DATE AS day,
    f.policy_name,
    f.policy_digest,
    f.feature,
    f.source,
    CASE WHEN json_type(f.value) = 'BOOLEAN' THEN f.value::BOOLEAN END AS boolean,
    CASE WHEN json_type(f.value) IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE') THEN f.value::DOUBLE END AS number,
    CASE WHEN json_type(f.value) = 'VARCHAR' THEN f.value ->> '$' END AS text,
    CASE WHEN json_type(f.value) = 'ARRAY' THEN from_json(f.value, '["VARCHAR"]') END AS list,
    f.team,
    f.user,
    f.mode,
    beside.decision_id IS NOT NULL AS simulated,
    f.import
FROM (
    SELECT
        d.decision_id, d.at_us, d.policy_name, d.policy_digest, d.mode, d.import,
        d.team,
        d.user,
        d.entry['key'] AS feature,
        d.entry['value'] AS source,
        d.given[d.entry['key']] AS value
    FROM (
        SELECT
            *, unnest(map_entries(feature_sources)) AS entry,
            from_json(features::JSON, '"MAP(VARCHAR, JSON)"') AS given
        FROM {{decisions}}
    ) AS d
) AS f
LEFT JOIN {{simulated}} AS beside ON beside.decision_id = f.decision_id
