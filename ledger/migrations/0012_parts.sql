-- Records by their parts: what many decisions share is kept once, and of the state what changed. Decisions that were
-- recorded before keep the text of their records, in a table of their own; `decisions` shows both.

ALTER TABLE decisions RENAME TO decisions_1;

COMMENT ON TABLE decisions_1 IS
    'Decisions whose records have version 1, with the records'' texts. No new ones are added.';

CREATE TABLE parts (
    part   INTEGER NOT NULL,
    kind   VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    value  VARCHAR NOT NULL
);

COMMENT ON TABLE parts IS 'What records share, each kept once.';
COMMENT ON COLUMN parts.part IS 'its number in this ledger';
COMMENT ON COLUMN parts.kind IS
    '`policy` (what follows from a policy alone), `plan` (rule, outcome, candidates, choice, plan) or `arm`';
COMMENT ON COLUMN parts.digest IS '`sha256:` and the SHA-256 of `value` in UTF-8';
COMMENT ON COLUMN parts.value IS 'canonical JSON (RFC 8785)';

CREATE TABLE decision_rows (
    writer           VARCHAR NOT NULL,
    entry            BIGINT NOT NULL,
    decision_id      UUID NOT NULL,
    at_us            BIGINT NOT NULL,
    operation        VARCHAR NOT NULL,
    pin              VARCHAR,
    draw             DOUBLE,
    request          STRUCT(
        prompt_tokens        BIGINT,
        prompt_tokens_source VARCHAR,
        tokenizer            VARCHAR,
        max_output_tokens    BIGINT,
        messages             BIGINT,
        images               BIGINT,
        tools                BIGINT,
        json_schema          BOOLEAN,
        metadata             MAP(VARCHAR, VARCHAR)
    ),
    prompt_tokens    BIGINT,
    sources          VARCHAR NOT NULL,
    features         VARIANT,
    ignored          VARCHAR[],
    verdicts         VARCHAR NOT NULL,
    details          MAP(VARCHAR, VARCHAR),
    arm_point        DOUBLE,
    load             DOUBLE,
    quota_used       BIGINT[],
    session_model    VARCHAR,
    policy_part      INTEGER NOT NULL,
    plan_part        INTEGER NOT NULL,
    arm_part         INTEGER,
    digest           BLOB NOT NULL,
    mode             VARCHAR NOT NULL,
    tags             MAP(VARCHAR, VARCHAR),
    trace_id         VARCHAR,
    deciding_ns      BIGINT,
    shadow_of        UUID,
    answered_attempt INTEGER
);

COMMENT ON TABLE decision_rows IS
    'One row for each decision: what differs from call to call, and which parts its record has. `decisions` shows it whole.';
COMMENT ON COLUMN decision_rows.writer IS 'who recorded it';
COMMENT ON COLUMN decision_rows.entry IS 'its number among the entries of the writer; the state was as of this entry';
COMMENT ON COLUMN decision_rows.decision_id IS 'the decision''s id, a UUID of version 7: sorted by time';
COMMENT ON COLUMN decision_rows.at_us IS 'when it was decided';
COMMENT ON COLUMN decision_rows.operation IS '`chat`, `embed` or `rerank`';
COMMENT ON COLUMN decision_rows.pin IS 'the only model that the caller allowed';
COMMENT ON COLUMN decision_rows.draw IS 'the random number that a split may use';
COMMENT ON COLUMN decision_rows.request IS 'what was known of the request; NULL where nothing was';
COMMENT ON COLUMN decision_rows.prompt_tokens IS 'the prompt''s length that gates and prices went by';
COMMENT ON COLUMN decision_rows.sources IS
    'a letter for each feature, in the order of the policy: `g` given, `r` derived, `d` default, `u` unknown';
COMMENT ON COLUMN decision_rows.features IS 'the features that have a value or were given as null, ignored ones too';
COMMENT ON COLUMN decision_rows.ignored IS 'names of those that the policy does not declare; NULL where there are none';
COMMENT ON COLUMN decision_rows.verdicts IS 'a letter for each rule, in order: `t` true, `f` false, `u` unknown';
COMMENT ON COLUMN decision_rows.details IS 'by model, why it failed its gate, with the numbers of this call';
COMMENT ON COLUMN decision_rows.arm_point IS 'where the task fell between the arms of a rollout';
COMMENT ON COLUMN decision_rows.load IS 'the load, from 0 to 1';
COMMENT ON COLUMN decision_rows.quota_used IS 'what was used of each quota, in the order of the policy; NULL where nothing was known';
COMMENT ON COLUMN decision_rows.session_model IS 'the model that last answered the session';
COMMENT ON COLUMN decision_rows.policy_part IS 'what follows from the policy, in `parts`';
COMMENT ON COLUMN decision_rows.plan_part IS 'rule, outcome, candidates, choice and plan, in `parts`';
COMMENT ON COLUMN decision_rows.arm_part IS 'the arm of a rollout, in `parts`';
COMMENT ON COLUMN decision_rows.digest IS 'the digest of the record: SHA-256';
COMMENT ON COLUMN decision_rows.mode IS 'how the decision is used. Executed: `exploit`, and under a canary `canary` in either arm. Not executed: `shadow`, made beside the one that was, and `dry_run`, made to be looked at, which Routewright does not write';
COMMENT ON COLUMN decision_rows.tags IS 'labels that the caller gave';
COMMENT ON COLUMN decision_rows.trace_id IS 'the trace, where the caller named one';
COMMENT ON COLUMN decision_rows.deciding_ns IS 'how long deciding took, in nanoseconds; not part of the record';
COMMENT ON COLUMN decision_rows.shadow_of IS 'of a shadow, the decision that was executed in its place';
COMMENT ON COLUMN decision_rows.answered_attempt IS 'the number of the attempt whose answer was given; NULL where none was';

CREATE TABLE model_states (
    writer           VARCHAR NOT NULL,
    entry            BIGINT NOT NULL,
    model            VARCHAR NOT NULL,
    health           VARCHAR,
    breaker          VARCHAR,
    breaker_until_us BIGINT,
    breaker_after    VARCHAR,
    latency_ms       DOUBLE,
    health_detail    VARCHAR,
    loaded           BOOLEAN,
    load_ms          BIGINT,
    memory_bytes     BIGINT
);

COMMENT ON TABLE model_states IS
    'What was known of a model, from a writer''s entry on until its next row. A decision went by the last row of each '
    'model up to its own entry; of a model without one, nothing was known.';
COMMENT ON COLUMN model_states.writer IS 'who recorded it';
COMMENT ON COLUMN model_states.entry IS 'the first entry of the writer for which it holds';
COMMENT ON COLUMN model_states.model IS 'the model, by its id in the catalog';
COMMENT ON COLUMN model_states.health IS 'its health';
COMMENT ON COLUMN model_states.breaker IS 'its breaker';
COMMENT ON COLUMN model_states.breaker_until_us IS 'when the open breaker closes, microseconds since 1970';
COMMENT ON COLUMN model_states.breaker_after IS 'the failure that opened it';
COMMENT ON COLUMN model_states.latency_ms IS 'the mean time to its first token';
COMMENT ON COLUMN model_states.health_detail IS 'why it is unhealthy';
COMMENT ON COLUMN model_states.loaded IS 'whether it is in memory';
COMMENT ON COLUMN model_states.load_ms IS 'how long loading it took of late';
COMMENT ON COLUMN model_states.memory_bytes IS 'what it takes in memory, as its backend says';

CREATE TABLE memory_states (
    writer      VARCHAR NOT NULL,
    entry       BIGINT NOT NULL,
    backend     VARCHAR NOT NULL,
    limit_bytes BIGINT,
    loaded      STRUCT(model VARCHAR, memory_bytes BIGINT)[]
);

COMMENT ON TABLE memory_states IS 'What was known of the memory of a backend, as `model_states` has it of models.';
COMMENT ON COLUMN memory_states.writer IS 'who recorded it';
COMMENT ON COLUMN memory_states.entry IS 'the first entry of the writer for which it holds';
COMMENT ON COLUMN memory_states.backend IS 'the backend, by its id in the catalog';
COMMENT ON COLUMN memory_states.limit_bytes IS 'what all its models together may take';
COMMENT ON COLUMN memory_states.loaded IS
    'the models in memory, in the order in which they make room; NULL where nothing is known any more';
