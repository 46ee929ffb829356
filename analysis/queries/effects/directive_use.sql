-- The tries of each directive that experiments cite.
SELECT run, number, directive_id FROM directive_tries($task, $exclude) ORDER BY directive_id, run_id, number
