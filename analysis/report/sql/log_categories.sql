-- What the logs tried, by the category that their words name; gain: what kept steps added to the best so far.
SELECT coalesce(i.category, 'unnamed') AS category, count(*) AS tried, count(*) FILTER (e.decision = 'keep') AS kept,
    count(*) FILTER (e.status NOT IN ('ok')) AS failed,
    round(coalesce(sum(i.step_gain) FILTER (e.decision = 'keep'), 0.0), 6) AS gain, 0.0::DOUBLE AS device_seconds
FROM experiments AS e JOIN import_rows AS i USING (run_id, experiment_id)
WHERE e.decision IS DISTINCT FROM 'baseline'
GROUP BY category
ORDER BY tried DESC, category
