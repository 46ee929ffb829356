-- Every full experiment that ran: its run, its number there and its gain over the run's own baseline, in no order. A
-- loss counts as at most the best gains seen: a script that diverged is thrown away whether it is ten or a thousand
-- times worse, and one such outlier would drown every other difference.
WITH gains AS (
    SELECT run, number, gain FROM experiments JOIN task_runs USING (run_id)
    WHERE task = $task AND status = 'ok' AND gain IS NOT NULL AND config IS NOT NULL
        AND coalesce(fraction, 1.0) = 1.0 AND NOT coalesce(list_contains($exclude, match_id), false)),
bound AS (SELECT nullif(quantile_cont(greatest(gain, 0.0), 0.99), 0.0) AS headroom FROM gains)
SELECT run, number, greatest(gain, coalesce(-headroom, gain)) AS outcome
FROM gains, bound
