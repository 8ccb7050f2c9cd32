-- What is found out about answers after they were given. Rows are only added: one that corrects another names it.

CREATE TABLE outcomes (
    outcome_id  UUID NOT NULL,
    decision_id UUID NOT NULL,
    attempt     INTEGER,
    model_id    VARCHAR,
    metric      VARCHAR NOT NULL,
    value       DOUBLE,
    label       VARCHAR,
    source      VARCHAR NOT NULL,
    at_us       BIGINT NOT NULL,
    supersedes  UUID
);

COMMENT ON TABLE outcomes IS 'What was found out about answers, such as scores and labels; corrections too.';
COMMENT ON COLUMN outcomes.outcome_id IS 'the outcome''s own id';
COMMENT ON COLUMN outcomes.decision_id IS 'the decision that it is of';
COMMENT ON COLUMN outcomes.attempt IS 'the attempt that it is of; NULL for the decision as a whole';
COMMENT ON COLUMN outcomes.model_id IS 'the model that it is of, where an attempt or a model was named';
COMMENT ON COLUMN outcomes.metric IS 'what was measured, such as `score`';
COMMENT ON COLUMN outcomes.value IS 'what was found, as a number; true and false are 1 and 0';
COMMENT ON COLUMN outcomes.label IS 'what was found, where it is no number';
COMMENT ON COLUMN outcomes.source IS 'who found it out';
COMMENT ON COLUMN outcomes.at_us IS 'when it was found out';
COMMENT ON COLUMN outcomes.supersedes IS 'the outcome that it corrects';
