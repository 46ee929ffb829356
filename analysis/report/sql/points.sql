-- Every experiment of these runs: metric, what was decided, what it cost.
SELECT e.run_id, e.number, e.metric, e.status, e.decision, coalesce(e.fraction, 1.0) AS fraction, e.experiment_id,
    left(e.description, 120) AS description
FROM experiments AS e
WHERE list_contains($runs, e.run_id)
ORDER BY e.run_id, e.number
