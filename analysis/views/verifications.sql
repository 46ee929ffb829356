-- One row per run and fresh seed: its final source trained anew and scored where no researcher looked.
-- The first result counts. Where runs are only chosen, nothing is trained of one that ends at the baseline (status
-- 'baseline', gain 0); on the streams confirmation and reserve it is trained like any other.
SELECT run_id, coalesce(v.arm_id, r.arm_id) AS arm_id, coalesce(v.program_id, r.program_id) AS program_id,
    coalesce(v.task, r.task) AS task, v.stream, seed, status, metric, baseline_metric, gain, trust,
    r.match_id, v.device_seconds_spent, written_at AS verified_at, constraints, reason, split
FROM recorded.verification AS v LEFT JOIN run_starts AS r USING (run_id)
ORDER BY v.place
