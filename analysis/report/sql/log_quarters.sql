-- The tries of every log in four parts of its course: tried, kept, failed, what the kept ones gained.
WITH tries AS (
    SELECT e.run_id, e.number, e.decision, e.status, i.step_gain,
        ntile(4) OVER (PARTITION BY e.run_id ORDER BY e.number) AS quarter
    FROM experiments AS e JOIN import_rows AS i USING (run_id, experiment_id)
    WHERE e.decision IS DISTINCT FROM 'baseline')
SELECT quarter, count(*) AS tried, count(*) FILTER (decision = 'keep') AS kept,
    count(*) FILTER (status NOT IN ('ok')) AS failed,
    round(coalesce(sum(step_gain) FILTER (decision = 'keep'), 0.0), 6) AS gain
FROM tries
GROUP BY quarter
ORDER BY quarter
