-- What columns hold since servers are not believed blindly, and since damage anywhere in a file is found.
COMMENT ON COLUMN attempts.tokens_source IS
    '`reported` by the server, `estimated`, or a `lower_bound` of what came where the server said less';
COMMENT ON COLUMN attempts.cost_source IS
    'whether the tokens behind the cost were `reported`, `estimated` or a `lower_bound`';
COMMENT ON COLUMN writers.damaged_bytes IS
    'what in its files was no whole entry; counted again where ingestion broke off behind it';
