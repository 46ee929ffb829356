-- One row per run, stream and fresh seed: its final source trained anew and scored where no researcher looked.
-- The first valid result counts. A source that failed under a seed gains 0 there, and so does a run that ends at the
-- baseline where runs are only chosen (status 'baseline', nothing is trained; on the streams confirmation and reserve it
-- is trained like any other, in studies begun by this version); our own faults count for nothing.
SELECT run_id, coalesce(v.arm_id, r.arm_id) AS arm_id, coalesce(v.program_id, r.program_id) AS program_id,
    coalesce(v.task, r.task) AS task, v.stream, seed, coalesce(status, 'ok') AS status, metric, baseline_metric,
    CASE WHEN coalesce(status, 'ok') = 'ok' THEN gain WHEN status = 'fault' THEN NULL ELSE 0.0 END AS gain,
    trust, r.match_id, v.device_seconds_spent, written_at AS verified_at, constraints, reason, split
FROM recorded.verification AS v LEFT JOIN run_starts AS r USING (run_id)
ORDER BY v.place
