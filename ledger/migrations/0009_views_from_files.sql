-- Views are made from files of their own, for the currencies and the policies that a ledger has.
DROP VIEW IF EXISTS rollout_arms;
DROP VIEW IF EXISTS rollout_differences;
DROP VIEW IF EXISTS rule_hits;
DROP VIEW IF EXISTS unknown_features;
DROP VIEW IF EXISTS cost_daily;
DROP VIEW IF EXISTS fallback_frequency;
DROP VIEW IF EXISTS success_rate;
DROP VIEW IF EXISTS model_latency;
DROP VIEW IF EXISTS routing_daily;
DROP VIEW IF EXISTS attempts_flat;
DROP VIEW IF EXISTS decisions_flat;

CREATE TABLE declarations (
    kind       VARCHAR NOT NULL,
    digest     VARCHAR NOT NULL,
    features   STRUCT(name VARCHAR, type VARCHAR)[] NOT NULL,
    quotas     STRUCT(
        name     VARCHAR,
        unit     VARCHAR,
        "limit"  BIGINT,
        currency VARCHAR,
        per      VARCHAR,
        for_each VARCHAR
    )[] NOT NULL,
    currencies VARCHAR[] NOT NULL,
    error      VARCHAR
);

COMMENT ON TABLE declarations IS 'What policies and catalogs declare, read from their texts; views are made from it.';
COMMENT ON COLUMN declarations.kind IS '`policy` or `catalog`';
COMMENT ON COLUMN declarations.digest IS 'whose declarations they are, as in `policies.digest`';
COMMENT ON COLUMN declarations.features IS 'each feature with its type; `number[]` is an array of numbers';
COMMENT ON COLUMN declarations.quotas IS 'each quota; a limit in money is in nano-units of its currency';
COMMENT ON COLUMN declarations.currencies IS 'the currencies of its prices';
COMMENT ON COLUMN declarations.error IS 'why the text could not be read';

CREATE TABLE views_made (
    digest VARCHAR NOT NULL
);

COMMENT ON TABLE views_made IS 'Which views the ledger has, so that they are made anew when they change.';
COMMENT ON COLUMN views_made.digest IS 'the SHA-256 of their names, comments and statements';
