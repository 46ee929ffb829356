-- Of a method that a package adds: the finished runs that the ids of its row name.
SELECT run_id, match_id, run_seed, program_id, verified_gain FROM verified_runs()
WHERE task = $task AND coalesce(match_id NOT IN (SELECT match_id FROM after_search()), true)
    AND ($run_id IS NULL OR run_id = $run_id) AND ($match_id IS NULL OR match_id = $match_id)
    AND ($program_id IS NULL OR program_id = $program_id)
    AND ($directive_id IS NULL OR program_id IN (SELECT program_id FROM directives WHERE directive_id = $directive_id))
ORDER BY match_id, run_seed, run_id
