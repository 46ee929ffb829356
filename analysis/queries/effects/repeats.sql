-- The metrics of each source that a run has trained in full.
SELECT list(metric ORDER BY number) FROM experiments
WHERE run_id = $run AND status = 'ok' AND fraction >= 1 GROUP BY source_id ORDER BY source_id
