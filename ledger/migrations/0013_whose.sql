-- Whose a decision is stands in columns: reading a feature of every row to find it takes longer than most questions.
ALTER TABLE decision_rows ADD COLUMN team VARCHAR;
ALTER TABLE decision_rows ADD COLUMN "user" VARCHAR;

UPDATE decision_rows SET
    team = coalesce(tags['team'], TRY_CAST(features['team'] AS VARCHAR)),
    "user" = coalesce(tags['user'], TRY_CAST(features['user'] AS VARCHAR));

COMMENT ON COLUMN decision_rows.team IS 'the tag `team`, else the feature of that name';
COMMENT ON COLUMN decision_rows."user" IS 'the tag `user`, else the feature of that name';
