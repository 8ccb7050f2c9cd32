-- Calls are put on record before they are made. Until a decision has ended, its entries are kept apart; a call whose
-- process was gone before it said how the call ended is an attempt that was `lost`.

CREATE TABLE in_flight (
    writer      VARCHAR NOT NULL,
    entry       BIGINT NOT NULL,
    decision_id UUID NOT NULL,
    beside      VARCHAR NOT NULL,
    record      VARCHAR
);

COMMENT ON TABLE in_flight IS
    'Entries of decisions whose calls were under way when they were taken in. They become rows when the decision ends '
    'or its writer is gone.';
COMMENT ON COLUMN in_flight.writer IS 'who wrote it';
COMMENT ON COLUMN in_flight.entry IS 'its number among the entries of the writer';
COMMENT ON COLUMN in_flight.decision_id IS 'the decision';
COMMENT ON COLUMN in_flight.beside IS 'what stands beside the record, attempts, policies and intents, as JSON';
COMMENT ON COLUMN in_flight.record IS 'the decision record';

ALTER TABLE attempts ALTER total_us DROP NOT NULL;

COMMENT ON COLUMN attempts.status IS
    '`ok`, `failed`, `partial` (failed after text had been shown), `skipped`, `cached`; `lost` where its process was gone before it said how the call ended';
COMMENT ON COLUMN attempts.total_us IS 'from the call''s beginning to its end; NULL where it was lost';
COMMENT ON COLUMN rejected.beside IS 'what stands beside the record, attempts, policies and intents, as JSON';

CREATE OR REPLACE VIEW decisions_flat AS
WITH executed AS (
    SELECT
        decision_id,
        count(*) AS attempts,
        arg_max(status, number) FILTER (role IN ('answer', 'fallback', 'retry')) AS last_status,
        arg_max(model_id, number)
            FILTER (role IN ('answer', 'fallback', 'retry') AND status IN ('ok', 'cached')) AS answered_by,
        bool_or(status = 'lost') AS lost,
        (max(started_at_us + total_us) - min(started_at_us)) / 1000 AS latency_ms,
        sum(cost_nano)::HUGEINT AS known_cost_nano,
        count(*) FILTER (cost_nano IS NULL) AS unknown_cost_attempts,
        CASE WHEN count(DISTINCT currency) = 1 THEN max(currency) END AS currency,
        bool_or(simulated) AS simulated
    FROM attempts
    GROUP BY decision_id
)
SELECT
    d.decision_id,
    make_timestamp(d.at_us) AS decided_at,
    d.operation,
    d.outcome,
    d.mode,
    d.policy_name,
    d.policy_digest,
    d.matched_rule,
    d.reason,
    d.target,
    CASE WHEN d.answered_attempt IS NOT NULL THEN e.answered_by END AS answered_by,
    CASE
        WHEN d.answered_attempt IS NOT NULL THEN given.status
        -- Whoever asked has heard nothing, whatever came of the calls before.
        WHEN e.lost THEN 'lost'
        -- What a model said is no answer where a step refused it, or an ensemble came to nothing.
        WHEN e.last_status IN ('ok', 'cached') OR (e.attempts > 0 AND e.last_status IS NULL) THEN 'failed'
        ELSE e.last_status
    END AS status,
    coalesce(e.attempts, 0) AS attempts,
    CASE WHEN NOT e.lost THEN e.latency_ms END AS latency_ms,
    CASE WHEN e.currency IS NOT NULL THEN e.known_cost_nano END AS known_cost_nano,
    e.currency,
    coalesce(e.unknown_cost_attempts, 0) AS unknown_cost_attempts,
    e.simulated,
    d.features,
    d.tags,
    d.session_id,
    d.trace_id,
    d.deciding_ns / 1000 AS deciding_us,
    d.arm,
    d.arm_probability,
    d.control_digest,
    d.candidate_digest,
    d.shadow_of,
    d.answered_attempt IS NOT NULL AS answered
FROM decisions AS d
LEFT JOIN executed AS e ON e.decision_id = d.decision_id
LEFT JOIN attempts AS given ON given.decision_id = d.decision_id AND given.number = d.answered_attempt;

COMMENT ON VIEW decisions_flat IS
    'One row for each decision, shadows too (`mode`), with what came of executing it. Cost is NULL when attempts '
    'had two currencies; `answered_by` too where an ensemble `answered`, as no one model did.';

CREATE OR REPLACE VIEW success_rate AS
SELECT
    model_id,
    backend_id,
    simulated,
    count(*) AS attempts,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (status = 'partial') AS partial,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'lost') AS lost,
    count(*) FILTER (status = 'ok') / count(*) AS success_rate,
    histogram(error_class) FILTER (error_class IS NOT NULL) AS error_classes
FROM attempts
WHERE status NOT IN ('cached', 'skipped')
GROUP BY ALL;

COMMENT ON VIEW success_rate IS
    'How often each model answered, and the kinds of failures when it did not. A call that was `lost` is no success: '
    'nobody got an answer.';
