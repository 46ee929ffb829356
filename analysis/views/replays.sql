-- One row per training of some of a run's kept commits on the task's untouched source, under a fresh seed.
-- gain: against the untouched source under the same seed, on the same hidden rows (if that failed, against its mean over
-- the other seeds); a source that fails gains 0.
WITH untouched AS (
    SELECT ablation_id, seed, metric, avg(metric) OVER (PARTITION BY ablation_id ORDER BY seed
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS mean
    FROM recorded.replay WHERE status = 'ok' AND len(commits) = 0),
against AS (
    SELECT r.ablation_id, r.seed, coalesce(any_value(u.metric) FILTER (u.seed = r.seed), any_value(u.mean)) AS metric
    FROM (SELECT DISTINCT ablation_id, seed FROM recorded.replay) AS r JOIN untouched AS u USING (ablation_id) GROUP BY ALL)
SELECT ablation_id, made.run_id, commits, skipped, source_id, made.stream, seed, status, made.metric,
    CASE WHEN status <> 'ok' THEN 0.0 WHEN r.direction = 'higher' THEN made.metric - against.metric
        ELSE against.metric - made.metric END AS gain,
    reason, trust, device_seconds_spent
FROM recorded.replay AS made LEFT JOIN against USING (ablation_id, seed) LEFT JOIN run_starts AS r ON r.run_id = made.run_id
ORDER BY ablation_id, seed, len(commits), made.place
