-- Of the decisions executed each day, how many came to a fallback, and which models answered in place of the target.
SELECT
    day,
    policy_name,
    matched_rule,
    target,
    team,
    user,
    count(*) AS executed,
    count(*) FILTER (fell_back) AS fell_back,
    count(*) FILTER (NOT answered) AS unanswered,
    histogram(answered_by) FILTER (answered_by <> target) AS answered_instead,
    mode,
    simulated,
    import
FROM all_decisions_flat
WHERE executed
GROUP BY ALL
