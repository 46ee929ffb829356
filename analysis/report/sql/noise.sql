-- Spread of the metric over training seeds of one unchanged script: the task's baseline, per match.
SELECT match_id, stream, count(metric) AS n, avg(metric ORDER BY seed) AS mean, stddev_samp(metric) AS sd
FROM baselines WHERE status = 'ok'
GROUP BY match_id, stream
ORDER BY match_id, stream
