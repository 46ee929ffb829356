-- The kept rows of an imported run in order, each commit once, without that of its baseline.
SELECT experiment_id, description, full_commit, repository, coalesce(': ' || repository_note, '') AS note
FROM import_rows AS r JOIN experiments AS e USING (run_id, experiment_id) JOIN imports AS i USING (run_id)
WHERE run_id = $run_id AND (decision = 'keep' OR step_gain IS NOT NULL)
    AND NOT EXISTS (FROM import_rows AS b WHERE b.run_id = r.run_id AND b.number = 0 AND b.full_commit = r.full_commit)
QUALIFY row_number() OVER (PARTITION BY coalesce(full_commit, experiment_id) ORDER BY r.number) = 1
ORDER BY r.number
