-- How many calls of each model came to what, by day: the rate is `sum(ok) / sum(calls)`. A call that was `lost` is no success: nobody got an answer.
SELECT
    day,
    model_id,
    backend_id,
    location,
    team,
    user,
    count(*) AS calls,
    count(*) FILTER (status = 'ok') AS ok,
    count(*) FILTER (status = 'partial') AS partial,
    count(*) FILTER (status = 'failed') AS failed,
    count(*) FILTER (status = 'lost') AS lost,
    histogram(error_class) FILTER (error_class IS NOT NULL) AS error_classes,
    mode,
    simulated,
    import
FROM all_attempts_flat
WHERE called AND status IS NOT NULL
GROUP BY ALL
