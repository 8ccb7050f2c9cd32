-- Times are microseconds since 1970 (UTC): reading TIMESTAMP WITH TIME ZONE needs a time zone package in many
-- clients. Views show them as TIMESTAMP. There are no primary keys: measured, they double the file and slow
-- every commit, so the writer looks for what is already there instead.

CREATE TABLE policies (
    digest        VARCHAR NOT NULL,
    kind          VARCHAR NOT NULL,
    name          VARCHAR NOT NULL,
    text          VARCHAR NOT NULL,
    first_seen_us BIGINT NOT NULL
);

COMMENT ON TABLE policies IS 'Every policy and catalog that a decision was made under, as it was written.';
COMMENT ON COLUMN policies.digest IS 'digest of what the file means, not of its layout';
COMMENT ON COLUMN policies.kind IS '`policy` or `catalog`';
COMMENT ON COLUMN policies.name IS 'the name in the file';
COMMENT ON COLUMN policies.text IS 'the file''s text';
COMMENT ON COLUMN policies.first_seen_us IS 'when it was first recorded';

CREATE TABLE decisions (
    decision_id     UUID NOT NULL,
    at_us           BIGINT NOT NULL,
    operation       VARCHAR NOT NULL,
    outcome         VARCHAR NOT NULL,
    mode            VARCHAR NOT NULL,
    policy_name     VARCHAR NOT NULL,
    policy_digest   VARCHAR NOT NULL,
    catalog_digest  VARCHAR,
    engine_version  VARCHAR NOT NULL,
    matched_rule    VARCHAR,
    reason          VARCHAR,
    target          VARCHAR,
    features        VARIANT,
    feature_sources MAP(VARCHAR, VARCHAR),
    verdicts        MAP(VARCHAR, BOOLEAN),
    candidates      STRUCT(
        model                VARCHAR,
        origin               VARCHAR,
        eligible             BOOLEAN,
        failed_gate          VARCHAR,
        detail               VARCHAR,
        probability          DOUBLE,
        estimated_cost_nano  BIGINT,
        currency             VARCHAR,
        estimated_latency_ms DOUBLE
    )[],
    plan            VARIANT,
    state           VARIANT,
    tags            MAP(VARCHAR, VARCHAR),
    session_id      VARCHAR,
    trace_id        VARCHAR,
    record          VARCHAR NOT NULL,
    record_digest   VARCHAR NOT NULL,
    deciding_ns     BIGINT,
    arm              VARCHAR,
    arm_probability  DOUBLE,
    control_digest   VARCHAR,
    candidate_digest VARCHAR,
    shadow_of        UUID,
    answered_attempt INTEGER
);

COMMENT ON TABLE decisions IS 'One row for each decision: what was chosen, and everything that decided it.';
COMMENT ON COLUMN decisions.decision_id IS 'the decision''s id, a UUID of version 7: sorted by time';
COMMENT ON COLUMN decisions.at_us IS 'when it was decided';
COMMENT ON COLUMN decisions.operation IS '`chat`, `embed` or `rerank`';
COMMENT ON COLUMN decisions.outcome IS '`routed`, `no_match`, `no_target` or `undecided`';
COMMENT ON COLUMN decisions.mode IS 'how the decision is used. Executed: `exploit`, and under a canary `canary` in either arm. Not executed: `shadow`, made beside the one that was, and `dry_run`, made to be looked at, which Routewright does not write';
COMMENT ON COLUMN decisions.policy_name IS 'the policy''s name';
COMMENT ON COLUMN decisions.policy_digest IS 'the policy, as in `policies.digest`';
COMMENT ON COLUMN decisions.catalog_digest IS 'the catalog, as in `policies.digest`';
COMMENT ON COLUMN decisions.engine_version IS 'the version of Routewright that decided';
COMMENT ON COLUMN decisions.matched_rule IS 'the first rule that held';
COMMENT ON COLUMN decisions.reason IS 'the reason that the rule gives';
COMMENT ON COLUMN decisions.target IS 'the model chosen, by its id in the catalog';
COMMENT ON COLUMN decisions.features IS 'the features that have a value; read one as `features.task_type`';
COMMENT ON COLUMN decisions.feature_sources IS
    'for each feature `given`, `derived`, `default`, `unknown` or `ignored`';
COMMENT ON COLUMN decisions.verdicts IS 'for each rule, in order, true, false or NULL: unknown';
COMMENT ON COLUMN decisions.candidates IS 'the models considered, in order, each with the first gate it failed';
COMMENT ON COLUMN decisions.plan IS 'what was to be executed: target, fallbacks, steps';
COMMENT ON COLUMN decisions.state IS 'what was known of models and time beyond the task';
COMMENT ON COLUMN decisions.tags IS 'labels that the caller gave';
COMMENT ON COLUMN decisions.session_id IS 'the conversation, where the caller named one';
COMMENT ON COLUMN decisions.trace_id IS 'the trace, where the caller named one';
COMMENT ON COLUMN decisions.record IS 'the whole decision record as canonical JSON (RFC 8785)';
COMMENT ON COLUMN decisions.record_digest IS '`sha256:` and the SHA-256 of `record` in UTF-8';
COMMENT ON COLUMN decisions.deciding_ns IS 'how long deciding took, in nanoseconds; not part of the record';
COMMENT ON COLUMN decisions.arm IS 'under a rollout, whose decision it is: `control` or `candidate`';
COMMENT ON COLUMN decisions.arm_probability IS 'how likely this arm was to be the one executed; 0 of a shadow';
COMMENT ON COLUMN decisions.control_digest IS 'under a rollout, the policy that is in force';
COMMENT ON COLUMN decisions.candidate_digest IS 'under a rollout, the policy that is tried';
COMMENT ON COLUMN decisions.shadow_of IS 'of a shadow, the decision that was executed in its place';
COMMENT ON COLUMN decisions.answered_attempt IS 'the number of the attempt whose answer was given; NULL where none was';

CREATE TABLE attempts (
    decision_id         UUID NOT NULL,
    number              INTEGER NOT NULL,
    role                VARCHAR NOT NULL,
    model_id            VARCHAR NOT NULL,
    backend_id          VARCHAR NOT NULL,
    model_said          VARCHAR,
    started_at_us       BIGINT NOT NULL,
    load_us             BIGINT,
    first_token_us      BIGINT,
    total_us            BIGINT NOT NULL,
    status              VARCHAR NOT NULL,
    error_class         VARCHAR,
    finish_reason       VARCHAR,
    streamed            BOOLEAN NOT NULL,
    input_tokens        BIGINT,
    cached_input_tokens BIGINT,
    cache_write_tokens  BIGINT,
    output_tokens       BIGINT,
    reasoning_tokens    BIGINT,
    tokens_source       VARCHAR,
    cost_nano           BIGINT,
    currency            VARCHAR,
    cost_source         VARCHAR,
    price_since         VARCHAR,
    cached_answer       BOOLEAN NOT NULL,
    simulated           BOOLEAN NOT NULL,
    reason              VARCHAR,
    saved_nano          BIGINT
);

COMMENT ON TABLE attempts IS 'One row for each call of a backend, failed ones too, and for each that was passed over.';
COMMENT ON COLUMN attempts.decision_id IS 'the decision it was made for';
COMMENT ON COLUMN attempts.number IS 'its place among the attempts of the decision, from 1';
COMMENT ON COLUMN attempts.role IS '`answer`, `fallback`, `retry`, a step''s (`draft`, `verify`, …), `member` or `judge`';
COMMENT ON COLUMN attempts.model_id IS 'the model called, by its id in the catalog';
COMMENT ON COLUMN attempts.backend_id IS 'the backend called, by its id in the catalog';
COMMENT ON COLUMN attempts.model_said IS 'the model''s name in the server''s own words';
COMMENT ON COLUMN attempts.started_at_us IS 'when the call began';
COMMENT ON COLUMN attempts.load_us IS 'how long loading the model took';
COMMENT ON COLUMN attempts.first_token_us IS 'from the call''s beginning to the first token, loading included';
COMMENT ON COLUMN attempts.total_us IS 'from the call''s beginning to its end';
COMMENT ON COLUMN attempts.status IS '`ok`, `failed`, `partial` (failed after text had been shown), `skipped`, `cached`';
COMMENT ON COLUMN attempts.error_class IS 'the kind of failure, such as `rate_limited`';
COMMENT ON COLUMN attempts.finish_reason IS 'why the answer ended, such as `stop` or `length`';
COMMENT ON COLUMN attempts.streamed IS 'whether text was passed on as it came';
COMMENT ON COLUMN attempts.input_tokens IS 'all tokens of the input, the cached ones included';
COMMENT ON COLUMN attempts.cached_input_tokens IS 'input tokens that the server read from its cache';
COMMENT ON COLUMN attempts.cache_write_tokens IS 'input tokens that the server wrote to its cache';
COMMENT ON COLUMN attempts.output_tokens IS 'all tokens of the output, reasoning included';
COMMENT ON COLUMN attempts.reasoning_tokens IS 'output tokens spent on reasoning';
COMMENT ON COLUMN attempts.tokens_source IS '`reported` by the server, or `estimated`';
COMMENT ON COLUMN attempts.cost_nano IS 'cost in nano-units (10⁻⁹) of the currency; NULL is unknown, never free';
COMMENT ON COLUMN attempts.currency IS 'the currency of the price, such as `USD`';
COMMENT ON COLUMN attempts.cost_source IS 'whether the tokens behind the cost were `reported` or `estimated`';
COMMENT ON COLUMN attempts.price_since IS 'since when the price used is the price';
COMMENT ON COLUMN attempts.cached_answer IS 'whether the answer came from a cache and no model was called';
COMMENT ON COLUMN attempts.simulated IS 'whether the answer was simulated and no model was called';
COMMENT ON COLUMN attempts.reason IS 'why the call was not made, where it was skipped';
COMMENT ON COLUMN attempts.saved_nano IS 'what a cached answer had cost to make';

CREATE TABLE writers (
    writer        VARCHAR NOT NULL,
    entries       BIGINT NOT NULL,
    at_us         BIGINT NOT NULL,
    damaged_bytes BIGINT NOT NULL
);

COMMENT ON TABLE writers IS 'How far the spool of each writer has been taken in; committed together with its rows.';
COMMENT ON COLUMN writers.writer IS 'the writer, one for each gateway of each process';
COMMENT ON COLUMN writers.entries IS 'the number of its last entry in the tables; they count from 1';
COMMENT ON COLUMN writers.at_us IS 'when that was taken in';
COMMENT ON COLUMN writers.damaged_bytes IS 'what at the end of its file was no whole entry, after it had died';

CREATE TABLE rejected (
    writer VARCHAR NOT NULL,
    entry  BIGINT NOT NULL,
    at_us  BIGINT NOT NULL,
    error  VARCHAR NOT NULL,
    beside VARCHAR NOT NULL,
    record VARCHAR
);

COMMENT ON TABLE rejected IS 'Entries of spools that could not be rows: kept as they are, never dropped.';
COMMENT ON COLUMN rejected.writer IS 'who wrote it';
COMMENT ON COLUMN rejected.entry IS 'its number among the entries of the writer';
COMMENT ON COLUMN rejected.at_us IS 'when it was found';
COMMENT ON COLUMN rejected.error IS 'why it could not be stored';
COMMENT ON COLUMN rejected.beside IS 'what stands beside the record, attempts and policies, as JSON';
COMMENT ON COLUMN rejected.record IS 'the decision record';
