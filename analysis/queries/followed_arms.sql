-- Per directive and arm that holds it: its verified runs, those that followed it (an experiment cites it) apart.
WITH scored AS (
    SELECT run_id, arm_id, program_id, verified_gain AS gain FROM runs
    WHERE task = $task AND state = 'finished' AND verified_gain IS NOT NULL AND experiments > 1
        AND NOT coalesce(list_contains($exclude, match_id), false)),
cited AS (
    SELECT DISTINCT run_id, unnest(directive_ids) AS directive_id FROM experiments
    WHERE task = $task AND number > 0 AND status <> 'fault'),
held AS (SELECT DISTINCT program_id, directive_id FROM directives WHERE kind <> 'order')
SELECT directive_id, arm_id, count(cited.run_id) AS followed, count(*) - count(cited.run_id) AS passed,
    avg(gain ORDER BY run_id) FILTER (cited.run_id IS NOT NULL) AS followed_mean,
    avg(gain ORDER BY run_id) FILTER (cited.run_id IS NULL) AS passed_mean,
    var_samp(gain ORDER BY run_id) FILTER (cited.run_id IS NOT NULL) AS followed_variance,
    var_samp(gain ORDER BY run_id) FILTER (cited.run_id IS NULL) AS passed_variance
FROM scored JOIN held USING (program_id) LEFT JOIN cited USING (run_id, directive_id)
GROUP BY directive_id, arm_id
ORDER BY directive_id, arm_id
