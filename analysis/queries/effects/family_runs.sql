-- Per accepted mutation, match, run seed and program: the gain of the child's runs or of a parent's runs.
-- is_earlier: in a match of a generation before the child's.
-- Only runs that can be compared: same task, budget and hardware class as the child's own.
WITH scored AS (
    SELECT *, verified_gain AS gain FROM verified_runs()
    WHERE task = $task AND NOT coalesce(list_contains($exclude, match_id), false)),
families AS (
    SELECT child_id, any_value(operator) AS operator, any_value(parent_ids) AS parent_ids,
        min(generation) AS generation
    FROM mutations WHERE accepted AND child_id IS NOT NULL AND len(parent_ids) > 0 GROUP BY child_id),
members AS (
    SELECT child_id, child_id AS program_id, true AS child FROM families
    UNION ALL
    SELECT DISTINCT child_id, unnest(parent_ids), false FROM families),
comparable AS (
    SELECT DISTINCT f.child_id, s.run_budget, s.hardware_class
    FROM families AS f JOIN scored AS s ON s.program_id = f.child_id)
SELECT f.child_id, f.operator, f.parent_ids, coalesce(p.name, f.child_id) AS name, s.match_id, s.run_seed, m.child,
    s.program_id, coalesce(s.generation < f.generation, false) AS is_earlier,
    avg(s.gain ORDER BY s.run_id) AS gain
FROM members AS m JOIN families AS f USING (child_id) JOIN scored AS s ON s.program_id = m.program_id
    JOIN comparable AS c ON c.child_id = f.child_id AND c.run_budget IS NOT DISTINCT FROM s.run_budget
        AND c.hardware_class IS NOT DISTINCT FROM s.hardware_class
    LEFT JOIN programs AS p ON p.program_id = f.child_id
GROUP BY ALL
ORDER BY f.child_id, s.match_id, s.run_seed, m.child, s.program_id
