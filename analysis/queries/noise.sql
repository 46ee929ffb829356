-- The noise of the runs with the task, budget and hardware of the latest match that is not on a held-out task: SD within
-- the arms of stock and within the others, with degrees of freedom; device-seconds of a run with its verification.
WITH checked AS (SELECT run_id, sum(device_seconds_spent) AS spent FROM verifications GROUP BY run_id),
gained AS (
    SELECT m.task, coalesce(m.unit, '') AS unit, m.run_budget, m.hardware_class, m.stream, r.match_id, r.arm_id, r.started_at,
        r.role IN ('control', 'a/a') AND split_part(r.name, ' = ', 1) = 'stock' AS is_stock, r.verified_gain AS gain,
        r.device_seconds_charged + coalesce(c.spent, 0.0) AS seconds
    FROM runs AS r JOIN matches AS m USING (match_id) LEFT JOIN checked AS c USING (run_id)
    WHERE r.state = 'finished' AND r.verified_gain IS NOT NULL),
latest AS (
    SELECT task, run_budget, hardware_class FROM gained WHERE stream IS DISTINCT FROM 'reserve'
    GROUP BY ALL ORDER BY max(started_at) DESC, max(match_id) DESC LIMIT 1),
same AS (
    SELECT g.* FROM gained AS g JOIN latest AS l ON (g.task, g.run_budget, g.hardware_class)
        IS NOT DISTINCT FROM (l.task, l.run_budget, l.hardware_class)),
arms AS (
    SELECT is_stock, count(*) - 1 AS df, coalesce(var_samp(gain), 0) * (count(*) - 1) AS squares
    FROM same GROUP BY is_stock, arm_id),
sds AS (
    SELECT sqrt(sum(squares) FILTER (is_stock) / nullif(sum(df) FILTER (is_stock), 0)) AS sd_stock,
        sqrt(sum(squares) FILTER (NOT is_stock) / nullif(sum(df) FILTER (NOT is_stock), 0)) AS sd_others,
        sum(df) FILTER (is_stock)::BIGINT AS df_stock, sum(df) FILTER (NOT is_stock)::BIGINT AS df_others
    FROM arms)
SELECT any_value(task) AS task, any_value(unit) AS unit, count(*) AS runs, avg(seconds) AS seconds,
    count(*) FILTER (is_stock) AS stock_n, avg(gain) FILTER (is_stock) AS stock_gain,
    stddev_samp(gain) FILTER (is_stock) / sqrt(stock_n) AS stock_se, any_value(COLUMNS(sds.*))
FROM same, sds HAVING count(*) > 0
