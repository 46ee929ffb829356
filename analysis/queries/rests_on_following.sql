-- The runs of programs that hold the directive, with whether an experiment cites it.
SELECT r.run_id, r.match_id, r.program_id, r.verified_gain, EXISTS (
    SELECT 1 FROM experiments AS e
    WHERE e.run_id = r.run_id AND e.number > 0 AND list_contains(e.directive_ids, $directive_id)) AS followed
FROM runs AS r JOIN (SELECT DISTINCT program_id FROM directives WHERE directive_id = $directive_id) USING (program_id)
WHERE r.task = $task AND r.state = 'finished' AND r.verified_gain IS NOT NULL AND r.stream NOT IN ('confirmation', 'reserve')
ORDER BY followed DESC, r.run_id
