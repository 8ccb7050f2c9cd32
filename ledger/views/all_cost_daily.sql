-- What the calls of each day are known to have cost, by model, team, user and tags, beside how many have no known cost.
SELECT
    day,
    model_id,
    location,
    team,
    user,
    tags,
    count(*) AS calls,
    sum(known_cost_{{currency}}) AS known_cost_{{currency}},
    sum(unknown_cost_calls)::BIGINT AS unknown_cost_calls,
    sum(lower_bound_calls)::BIGINT AS lower_bound_calls,
    mode,
    simulated,
    import
FROM all_attempts_flat
WHERE called
GROUP BY ALL
