-- A feature that was given as null has the source `given` and no value: it counts as unknown, in a column of its own.
CREATE OR REPLACE VIEW unknown_features AS
SELECT
    policy_name,
    entry.key AS feature,
    count(*) AS decisions,
    count(*) FILTER (entry.value = 'unknown') AS unknown,
    count(*) FILTER (is_null) AS given_as_null,
    count(*) FILTER (entry.value = 'default') AS defaulted,
    count(*) FILTER (entry.value = 'unknown' OR is_null) / count(*) AS unknown_rate
FROM (
    SELECT
        policy_name,
        entry,
        entry.value = 'given' AND json_type(features::JSON, '$."' || entry.key || '"') = 'NULL' AS is_null
    FROM (SELECT policy_name, features, unnest(map_entries(feature_sources)) AS entry FROM decisions
          WHERE mode NOT IN ('shadow', 'dry_run'))
    WHERE entry.value <> 'ignored'
)
GROUP BY ALL;

COMMENT ON VIEW unknown_features IS
    'How often each declared feature had no value (not given, or given as null), or only its default.';
