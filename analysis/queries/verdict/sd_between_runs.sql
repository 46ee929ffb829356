-- The SD between runs of one program, of the runs with the task, budget and hardware of the latest match that is not on a
-- held-out task: the root mean square of that within the arms of stock and that within the others. NULL without two runs.
WITH gained AS (
    SELECT *, program_id = stock_id() AS is_stock, verified_gain AS gain FROM verified_runs()),
latest AS (
    SELECT task, run_budget, hardware_class FROM gained WHERE stream IS DISTINCT FROM 'reserve'
    GROUP BY ALL ORDER BY max(started_at) DESC, max(match_id) DESC LIMIT 1),
arms AS (
    SELECT is_stock, count(*) - 1 AS df, var_samp(gain) * (count(*) - 1) AS squares
    FROM gained AS g JOIN latest AS l ON (g.task, g.run_budget, g.hardware_class)
        IS NOT DISTINCT FROM (l.task, l.run_budget, l.hardware_class)
    GROUP BY is_stock, arm_id HAVING count(*) > 1),
sides AS (SELECT sum(squares ORDER BY squares) / sum(df) AS variance FROM arms GROUP BY is_stock)
SELECT sqrt(avg(variance)) AS sd FROM sides
