-- One row for each call that has begun and not ended, as far as the ledger knows: what is in the spools of other processes is taken in when the ledger is asked.
WITH flights AS (
    SELECT
        f.writer,
        f.decision_id,
        coalesce(f.beside::JSON ->> '$.row.mode', 'exploit') AS mode,
        f.beside::JSON ->> '$.row.tags.team' AS team,
        f.beside::JSON ->> '$.row.trace_id' AS trace_id,
        from_json(f.beside::JSON -> '$.attempts', '[{"number": "INTEGER"}]') AS ended,
        from_json(
            f.beside::JSON -> '$.intents',
            '[{"number": "INTEGER", "role": "VARCHAR", "model_id": "VARCHAR", "backend_id": "VARCHAR",
               "started_at_us": "BIGINT", "streamed": "BOOLEAN", "simulated": "BOOLEAN", "location": "VARCHAR",
               "host": "VARCHAR"}]'
        ) AS intents
    FROM in_flight AS f
),
calls AS (
    SELECT * EXCLUDE (intents), unnest(intents) AS call FROM flights
)
SELECT
    decision_id::VARCHAR COLLATE NOACCENT AS decision_id,
    call.number,
    make_timestamptz(call.started_at_us) AS started_at,
    make_timestamptz(call.started_at_us)::DATE AS day,
    call.role,
    call.model_id,
    call.backend_id,
    coalesce(call.location, 'unknown') AS location,
    call.host,
    call.streamed,
    team,
    trace_id,
    writer,
    mode,
    call.simulated,
    NULL::VARCHAR AS import
FROM calls
WHERE NOT list_contains(list_transform(ended, lambda one: one.number), call.number)
