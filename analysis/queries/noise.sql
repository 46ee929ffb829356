-- Sd of one training of the same source under fresh seeds: the shared baselines, pooled over matches and streams.
SELECT sqrt(sum((n - 1) * variance ORDER BY stream) / sum(n - 1)) AS sd FROM (
    SELECT stream, count(*) AS n, var_samp(metric ORDER BY seed) AS variance FROM baselines
    WHERE task = $task AND status = 'ok' GROUP BY stream HAVING count(*) > 1)
