-- What the power of each match follows from, oldest first: the runs of its champion, of stock (both arms together), and
-- within all of its arms. Sums are ordered, so that they are equal to the last bit.
WITH gained AS (
    SELECT run_id, match_id, arm_id, role, role IN ('control', 'a/a') AND split_part(name, ' = ', 1) = 'stock' AS is_stock, started_at, verified_gain AS gain
    FROM runs WHERE state = 'finished' AND verified_gain IS NOT NULL AND match_id IS NOT NULL),
sides AS (
    SELECT match_id, min(started_at) AS began, count(*) FILTER (role = 'champion') AS champion_n,
        stddev_samp(gain ORDER BY run_id) FILTER (role = 'champion') AS champion_sd, count(*) FILTER (is_stock) AS stock_n,
        stddev_samp(gain ORDER BY run_id) FILTER (is_stock) AS stock_sd, avg(gain ORDER BY run_id) FILTER (is_stock) AS stock_gain,
        stock_sd / sqrt(stock_n) AS stock_se
    FROM gained GROUP BY match_id),
arms AS (SELECT match_id, arm_id, count(*) AS n, var_samp(gain ORDER BY run_id) AS variance FROM gained GROUP BY ALL),
within AS (
    SELECT match_id, count(*) AS arms, list_sort(list(n))[count(*) // 2 + 1] AS median,
        sqrt(sum((n - 1) * variance ORDER BY arm_id) / nullif(sum(n - 1), 0)) AS sd
    FROM arms GROUP BY match_id)
SELECT match_id, m.task, m.purpose, m.generation, m.stream, m.unit, champion_n, champion_sd, stock_n, stock_sd, stock_gain,
    stock_se, arms, median, sd
FROM sides JOIN within USING (match_id) JOIN matches AS m USING (match_id) ORDER BY began, match_id
