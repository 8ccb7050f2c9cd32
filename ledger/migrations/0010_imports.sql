-- What other routers logged, and tables that others made. These rows stand apart from one's own: an import has a name, and
-- can be removed again whole.

CREATE TABLE imports (
    "import"       VARCHAR NOT NULL,
    import_id      UUID NOT NULL,
    source         VARCHAR NOT NULL,
    file           VARCHAR NOT NULL,
    mapping        VARCHAR,
    engine_version VARCHAR NOT NULL,
    at_us          BIGINT NOT NULL,
    complete       BOOLEAN NOT NULL,
    rows           BIGINT NOT NULL,
    bad            BIGINT NOT NULL,
    passed_over    BIGINT NOT NULL,
    empty          BIGINT NOT NULL,
    calls          BIGINT NOT NULL,
    new_decisions  BIGINT NOT NULL,
    new_calls      BIGINT NOT NULL,
    new_outcomes   BIGINT NOT NULL,
    changed        BIGINT NOT NULL,
    costs_rounded  BIGINT NOT NULL
);

COMMENT ON TABLE imports IS 'One row for each file that was imported, each time.';
COMMENT ON COLUMN imports."import" IS 'the name of the import; several files may have one';
COMMENT ON COLUMN imports.import_id IS 'this file''s own id';
COMMENT ON COLUMN imports.source IS 'what kind of log it is, such as `litellm`';
COMMENT ON COLUMN imports.file IS 'the file''s name, without its folder';
COMMENT ON COLUMN imports.mapping IS 'the text of the mapping, where there was one';
COMMENT ON COLUMN imports.engine_version IS 'the version of Routewright that read it';
COMMENT ON COLUMN imports.at_us IS 'when it was read';
COMMENT ON COLUMN imports.complete IS 'whether it was read to its end';
COMMENT ON COLUMN imports.rows IS 'entries of the file';
COMMENT ON COLUMN imports.bad IS 'entries that could not be read';
COMMENT ON COLUMN imports.passed_over IS 'entries that are no calls of a model';
COMMENT ON COLUMN imports.empty IS 'entries that say nothing';
COMMENT ON COLUMN imports.calls IS 'calls in the file';
COMMENT ON COLUMN imports.new_decisions IS 'requests that were not there before';
COMMENT ON COLUMN imports.new_calls IS 'calls that were not there before';
COMMENT ON COLUMN imports.new_outcomes IS 'outcomes that were not there before';
COMMENT ON COLUMN imports.changed IS 'calls that were there with other values, and were left as they were';
COMMENT ON COLUMN imports.costs_rounded IS 'costs that are no whole number of nano-units, and were rounded half to even';

CREATE TABLE imported_decisions (
    "import"         VARCHAR NOT NULL,
    decision_id      UUID NOT NULL,
    source_id        VARCHAR,
    at_us            BIGINT,
    operation        VARCHAR,
    outcome          VARCHAR,
    requested_model  VARCHAR,
    target           VARCHAR,
    features         VARIANT,
    feature_sources  MAP(VARCHAR, VARCHAR),
    tags             MAP(VARCHAR, VARCHAR),
    session_id       VARCHAR,
    trace_id         VARCHAR,
    answered_attempt INTEGER
);

COMMENT ON TABLE imported_decisions IS 'A request that another router served, as far as its log says.';
COMMENT ON COLUMN imported_decisions."import" IS 'the import that it came with';
COMMENT ON COLUMN imported_decisions.decision_id IS 'made of the import''s name and the source''s own id, or else of the whole row';
COMMENT ON COLUMN imported_decisions.source_id IS 'the source''s own id of the request; rows with one id are calls of one request';
COMMENT ON COLUMN imported_decisions.at_us IS 'when the request began';
COMMENT ON COLUMN imported_decisions.operation IS '`chat`, `embed`, `rerank`';
COMMENT ON COLUMN imported_decisions.outcome IS '`routed` where a target is known';
COMMENT ON COLUMN imported_decisions.requested_model IS 'the model, group or route that was asked for';
COMMENT ON COLUMN imported_decisions.target IS 'the model that the router chose, in the source''s words';
COMMENT ON COLUMN imported_decisions.features IS 'what was known of the task';
COMMENT ON COLUMN imported_decisions.feature_sources IS 'for each feature `given`';
COMMENT ON COLUMN imported_decisions.tags IS 'labels; `team` and `user` among them';
COMMENT ON COLUMN imported_decisions.session_id IS 'the conversation';
COMMENT ON COLUMN imported_decisions.trace_id IS 'the trace';
COMMENT ON COLUMN imported_decisions.answered_attempt IS 'the number of the call whose answer was given';

CREATE TABLE imported_attempts (
    "import"            VARCHAR NOT NULL,
    decision_id         UUID NOT NULL,
    number              INTEGER NOT NULL,
    call_id             UUID NOT NULL,
    digest              UUID NOT NULL,
    role                VARCHAR,
    model_id            VARCHAR,
    backend_id          VARCHAR,
    location            VARCHAR,
    host                VARCHAR,
    model_said          VARCHAR,
    started_at_us       BIGINT,
    first_token_us      BIGINT,
    total_us            BIGINT,
    status              VARCHAR,
    error_class         VARCHAR,
    finish_reason       VARCHAR,
    streamed            BOOLEAN,
    input_tokens        BIGINT,
    cached_input_tokens BIGINT,
    cache_write_tokens  BIGINT,
    output_tokens       BIGINT,
    reasoning_tokens    BIGINT,
    tokens_source       VARCHAR,
    cost_nano           BIGINT,
    currency            VARCHAR,
    cost_source         VARCHAR,
    cached_answer       BOOLEAN
);

COMMENT ON TABLE imported_attempts IS 'A call that another router made, as far as its log says.';
COMMENT ON COLUMN imported_attempts."import" IS 'the import that it came with';
COMMENT ON COLUMN imported_attempts.decision_id IS 'the request that it was made for, as in `imported_decisions`';
COMMENT ON COLUMN imported_attempts.number IS 'its place among the calls of the request, from 1, in the order of the file';
COMMENT ON COLUMN imported_attempts.call_id IS 'made of the source''s own id of the call, or else of its model';
COMMENT ON COLUMN imported_attempts.digest IS 'of all that was imported of it: a row that has changed is noticed';
COMMENT ON COLUMN imported_attempts.role IS '`answer`, `fallback`, `retry` and so on';
COMMENT ON COLUMN imported_attempts.model_id IS 'the model that was called, in the source''s words';
COMMENT ON COLUMN imported_attempts.backend_id IS 'who served it, in the source''s words';
COMMENT ON COLUMN imported_attempts.location IS '`local`, `cloud`, `unknown`';
COMMENT ON COLUMN imported_attempts.host IS 'the address that was called';
COMMENT ON COLUMN imported_attempts.model_said IS 'the model''s name in the server''s own words';
COMMENT ON COLUMN imported_attempts.started_at_us IS 'when the call began';
COMMENT ON COLUMN imported_attempts.first_token_us IS 'from the call''s beginning to the first token';
COMMENT ON COLUMN imported_attempts.total_us IS 'from the call''s beginning to its end';
COMMENT ON COLUMN imported_attempts.status IS '`ok`, `failed`, `partial`, `skipped`, `cached`, `lost`';
COMMENT ON COLUMN imported_attempts.error_class IS 'the kind of failure, in the source''s words';
COMMENT ON COLUMN imported_attempts.finish_reason IS 'why the answer ended, such as `stop` or `length`';
COMMENT ON COLUMN imported_attempts.streamed IS 'whether text was passed on as it came';
COMMENT ON COLUMN imported_attempts.input_tokens IS 'all tokens of the input, the cached ones included';
COMMENT ON COLUMN imported_attempts.cached_input_tokens IS 'input tokens that the server read from its cache';
COMMENT ON COLUMN imported_attempts.cache_write_tokens IS 'input tokens that the server wrote to its cache';
COMMENT ON COLUMN imported_attempts.output_tokens IS 'all tokens of the output, reasoning included';
COMMENT ON COLUMN imported_attempts.reasoning_tokens IS 'output tokens spent on reasoning';
COMMENT ON COLUMN imported_attempts.tokens_source IS '`reported` where the source says token counts';
COMMENT ON COLUMN imported_attempts.cost_nano IS 'cost in nano-units (10⁻⁹) of the currency; NULL is unknown, never free';
COMMENT ON COLUMN imported_attempts.currency IS 'the currency of the cost, such as `USD`';
COMMENT ON COLUMN imported_attempts.cost_source IS '`imported` where the source says a cost';
COMMENT ON COLUMN imported_attempts.cached_answer IS 'whether the answer came from the router''s cache';

CREATE TABLE imported_outcomes (
    "import"    VARCHAR NOT NULL,
    decision_id UUID NOT NULL,
    attempt     INTEGER NOT NULL,
    metric      VARCHAR NOT NULL,
    value       DOUBLE,
    label       VARCHAR
);

COMMENT ON TABLE imported_outcomes IS 'What was found out about an imported call.';
COMMENT ON COLUMN imported_outcomes."import" IS 'the import that it came with';
COMMENT ON COLUMN imported_outcomes.decision_id IS 'the request, as in `imported_decisions`';
COMMENT ON COLUMN imported_outcomes.attempt IS 'the number of the call that it is of';
COMMENT ON COLUMN imported_outcomes.metric IS 'what was measured, such as `score`';
COMMENT ON COLUMN imported_outcomes.value IS 'what was found, as a number; true and false are 1 and 0';
COMMENT ON COLUMN imported_outcomes.label IS 'what was found, where it is no number';
