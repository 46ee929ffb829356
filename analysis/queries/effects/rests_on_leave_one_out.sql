-- The trainings of the run's commits, with whether this one was among them.
SELECT seed, list_contains(commits, $experiment_id) AS present, len(commits) AS commits, source_id, gain, status
FROM replays WHERE run_id = $run_id
ORDER BY seed, len(commits), source_id
