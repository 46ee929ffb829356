-- What models said in some runs, in order: why each experiment was made.
SELECT run_id, text FROM calls
WHERE list_contains($runs, run_id) AND status = 'ok'
ORDER BY run_id, number
