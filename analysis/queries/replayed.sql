-- Their trainings.
SELECT p.ablation_id, p.commits, p.seed, p.gain FROM replays AS p JOIN ablations AS a USING (ablation_id)
WHERE a.task = $task ORDER BY p.ablation_id, p.seed, len(p.commits), p.commits
