-- One row per training of some of a run's kept commits on the task's untouched source, under a fresh seed.
-- gain: against the untouched source under the same seed, on the same hidden rows (if that failed, against its mean over
-- the other seeds); a source that fails gains 0.
WITH recorded AS (
    SELECT place, unnest(from_json(record, '{
        "ablation_id": "VARCHAR", "run_id": "VARCHAR", "commits": ["VARCHAR"], "skipped": ["VARCHAR"],
        "source_id": "VARCHAR", "stream": "VARCHAR", "seed": "BIGINT", "status": "VARCHAR", "metric": "DOUBLE",
        "reason": "VARCHAR", "trust": "VARCHAR", "device_seconds_spent": "DOUBLE"}'))
    FROM events WHERE kind = 'replay'
    QUALIFY row_number() OVER (
        PARTITION BY record ->> 'ablation_id', record ->> 'commits', record ->> 'seed' ORDER BY place) = 1),
untouched AS (
    SELECT ablation_id, seed, metric, avg(metric) OVER (PARTITION BY ablation_id ORDER BY seed
        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS mean
    FROM recorded WHERE status = 'ok' AND len(commits) = 0),
against AS (
    SELECT r.ablation_id, r.seed, coalesce(any_value(u.metric) FILTER (u.seed = r.seed), any_value(u.mean)) AS metric
    FROM (SELECT DISTINCT ablation_id, seed FROM recorded) AS r JOIN untouched AS u USING (ablation_id) GROUP BY ALL)
SELECT ablation_id, recorded.run_id, commits, skipped, source_id, recorded.stream, seed, status, recorded.metric,
    CASE WHEN status <> 'ok' THEN 0.0 WHEN r.direction = 'higher' THEN recorded.metric - against.metric
        ELSE against.metric - recorded.metric END AS gain,
    reason, trust, device_seconds_spent
FROM recorded LEFT JOIN against USING (ablation_id, seed) LEFT JOIN run_starts AS r ON r.run_id = recorded.run_id
ORDER BY ablation_id, seed, len(commits), recorded.place
