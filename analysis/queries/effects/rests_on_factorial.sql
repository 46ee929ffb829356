-- The runs of the ablation's match, with whether their program held the directive.
SELECT r.run_id, r.run_seed, r.program_id, r.verified_gain, r.program_id IN (
    SELECT program_id FROM directives WHERE directive_id = $directive_id) AS held
FROM verified_runs() AS r
WHERE r.match_id = $match_id
ORDER BY held DESC, r.run_seed, r.run_id
