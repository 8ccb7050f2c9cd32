-- Which features keep work on local models: all texts are read again.
ALTER TABLE declarations ADD COLUMN keep_local VARCHAR[] DEFAULT [];
DELETE FROM declarations;

COMMENT ON COLUMN declarations.keep_local IS
    'boolean features that, where they are true, bring a constraint on `model.location` into force';
