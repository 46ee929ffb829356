-- Programs (and stock's A/A arm) × tasks: the runs of each with those of stock there. Only runs at the budget and on the
-- hardware of the latest match on a task are comparable; ablations and void entries are left out. A program that ran in
-- a confirmation has only those runs, since the runs that selected it overestimate its gain. place: home (training),
-- elsewhere (held-out, and other tasks).
WITH settings AS (SELECT config FROM studies WHERE config IS NOT NULL LIMIT 1),
held AS (
    SELECT task_id, 'elsewhere' AS place FROM (SELECT unnest(from_json(config -> 'held_out', '[{"task_id": "VARCHAR"}]'),
        recursive := true) FROM settings)),
known AS (
    SELECT r.task, any_value(h.place) AS held, row_number() OVER (ORDER BY
        coalesce(bool_or(m.task_id = (SELECT config ->> 'task_id' FROM settings)), false) DESC, min(r.place)) AS number
    FROM run_starts AS r LEFT JOIN matches AS m USING (match_id) LEFT JOIN held AS h USING (task_id)
    WHERE r.task IS NOT NULL GROUP BY r.task),
tasks AS (
    SELECT task, number, CASE WHEN number = 1 THEN 'home' WHEN held IS NOT NULL THEN held
        WHEN (SELECT config ->> 'kind' IN ('evolve', 'night') FROM settings)
            OR (SELECT count(held) FROM known) > 0 THEN 'home' ELSE 'elsewhere' END AS place
    FROM known WHERE (SELECT count(*) FROM known) > 1),
played AS (
    SELECT r.task, r.score_stream AS stream, r.program_id, coalesce(r.role, 'program') AS role, r.run_id,
        coalesce(r.name, r.program_id) AS name, r.verified_gain AS gain, r.trust, coalesce(m.unit, 'metric') AS unit
    FROM verified_runs() AS r JOIN matches AS m USING (match_id)
    WHERE r.task IS NOT NULL
        AND m.purpose IS DISTINCT FROM 'ablation' AND r.arm_id NOT IN (SELECT arm_id FROM void_arms() WHERE arm_id IS NOT NULL)
    QUALIFY (m.run_budget, m.hardware_class) IS NOT DISTINCT FROM first((m.run_budget, m.hardware_class)) OVER (
        PARTITION BY r.task ORDER BY m.started_at DESC NULLS LAST, r.match_id)),
stock AS (
    SELECT task, stream, list(gain ORDER BY run_id) AS stock_gains FROM played WHERE program_id = stock_id() GROUP BY ALL),
arms AS (
    SELECT task, stream, program_id, min(name) AS name, role = 'a/a' AS is_twin, count(*) AS n,
        avg(gain) AS gain, stddev_samp(gain) / sqrt(count(*)) AS se, list(trust) AS trusts, min(unit) AS unit,
        arg_min(role, list_position(['champion', 'program', 'own', 'without-ideas', 'start', 'learnt', 'control', 'one-line',
            'a/a'], role)) AS role
    FROM played GROUP BY task, stream, program_id, is_twin
    QUALIFY row_number() OVER (PARTITION BY task, program_id, is_twin
        ORDER BY list_position(['reserve', 'confirmation', 'selection'], stream) NULLS LAST, stream) = 1),
bare AS (  -- programs without their idea lists, each with the program that it was made from
    SELECT program_id, any_value(of_program ORDER BY recorded DESC) AS of_program FROM (
        SELECT program_id, parent_ids[1] AS of_program, true AS recorded FROM programs
        WHERE operator = 'without-ideas' AND len(parent_ids) > 0
        UNION ALL
        SELECT a.program_id, b.program_id, false FROM arms AS a JOIN arms AS b USING (task, stream)
        WHERE a.role = 'without-ideas' AND b.role = 'champion') GROUP BY program_id)
SELECT task, place, program_id, name, CASE WHEN program_id = stock_id() AND NOT is_twin THEN 'control' ELSE role END AS role,
    of_program, stream, n, gain, se, unit, trusts, coalesce(stock_gains, []) AS stock_gains
FROM arms JOIN tasks USING (task) LEFT JOIN bare USING (program_id) LEFT JOIN stock USING (task, stream)
ORDER BY number, gain DESC, program_id, role
