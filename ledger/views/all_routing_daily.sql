-- How many decisions went where, by day, policy, rule, target, team and user. `executed` are those that came to calls, or to an answer from the cache.
SELECT
    day,
    policy_name,
    mode,
    operation,
    outcome,
    matched_rule,
    target,
    team,
    user,
    count(*) AS decisions,
    count(*) FILTER (executed) AS executed,
    count(*) FILTER (answered) AS answered,
    count(*) FILTER (fell_back) AS fell_back,
    simulated,
    import
FROM all_decisions_flat
GROUP BY ALL
