-- The runs of the child and of its parents, match by match and seed by seed.
WITH family AS (
    SELECT child_id, parent_ids FROM mutations WHERE accepted AND child_id = $child_id LIMIT 1)
SELECT r.run_id, r.match_id, r.run_seed, r.program_id, r.program_id = f.child_id AS child, r.verified_gain
FROM verified_runs() AS r JOIN family AS f ON r.program_id = f.child_id OR list_contains(f.parent_ids, r.program_id)
WHERE r.task = $task AND coalesce(r.match_id NOT IN (SELECT match_id FROM after_search()), true)
ORDER BY r.match_id, r.run_seed, child DESC
