-- One row for each call that is under way. If its process is gone, it becomes an attempt that was `lost` when the ledger is next read.
SELECT
    f.decision_id::VARCHAR COLLATE NOACCENT AS decision_id,
    f.call['number'] AS number,
    make_timestamptz(f.call['started_at_us']) AS started_at,
    make_timestamptz(f.call['started_at_us'])::DATE AS day,
    f.call['role'] AS role,
    f.call['model_id'] AS model_id,
    f.call['backend_id'] AS backend_id,
    coalesce(f.call['location'], 'unknown') AS location,
    f.call['host'] AS host,
    f.call['streamed'] AS streamed,
    f.tags['team'] AS team,
    f.tags['user'] AS "user",
    f.tags,
    f.trace_id,
    f.writer,
    f.mode,
    f.call['simulated'] AS simulated,
    NULL::VARCHAR AS import
FROM (
    SELECT
        writer,
        decision_id,
        -- A decision's own entry may have been lost.
        coalesce(json_extract_string(beside, '$.row.mode'), 'exploit') AS mode,
        json_extract_string(beside, '$.row.trace_id') AS trace_id,
        from_json(json_extract(beside, '$.row.tags'), '"MAP(VARCHAR, VARCHAR)"') AS tags,
        unnest(from_json(
            json_extract(beside, '$.intents'),
            '[{"number": "INTEGER", "role": "VARCHAR", "model_id": "VARCHAR", "backend_id": "VARCHAR", '
            '"started_at_us": "BIGINT", "streamed": "BOOLEAN", "simulated": "BOOLEAN", "location": "VARCHAR", '
            '"host": "VARCHAR"}]'
        )) AS call,
        from_json(json_extract(beside, '$.attempts'), '[{"number": "INTEGER"}]') AS ended
    FROM in_flight
) AS f
WHERE NOT list_contains(list_transform(coalesce(f.ended, []), lambda one: one['number']), f.call['number'])
