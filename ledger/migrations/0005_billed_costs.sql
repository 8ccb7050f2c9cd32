-- What columns hold since a server may name the cost of a call itself.
COMMENT ON COLUMN attempts.currency IS 'the currency of the cost, such as `USD`';
COMMENT ON COLUMN attempts.cost_source IS
    '`billed` if the server named the cost, else whether the tokens behind it were `reported`, `estimated` or a `lower_bound`';
COMMENT ON COLUMN attempts.price_since IS 'since when the price used is the price; NULL where none was used';
