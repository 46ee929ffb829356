-- The turns of the nights of the ablation, with whether their program held the directive.
SELECT t.run_id, t.number, t.block, t.program_id, t.experiments, t.kept, t.gain, t.program_id IN (
    SELECT program_id FROM directives WHERE directive_id = $directive_id) AS held
FROM night_turns AS t JOIN run_starts AS r USING (run_id)
WHERE r.match_id = $match_id
ORDER BY held DESC, t.run_id, t.number
