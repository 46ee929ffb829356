-- The experiments of the table: all if there are at most $most; else kept ones up to half of that, and of every other
-- decision and status an equal share, drawn by the hash of the experiment's id.
WITH sizes AS (SELECT decision, status, count(*) AS n FROM experiments GROUP BY ALL),
drawn AS (  -- about twice as many of each kind as there can be room for, so that few need be put in order
    SELECT e.run_id, e.experiment_id, e.decision, e.status, hash(e.experiment_id) AS lot
    FROM experiments AS e JOIN sizes AS s
        ON s.decision IS NOT DISTINCT FROM e.decision AND s.status IS NOT DISTINCT FROM e.status
    WHERE s.n <= 4 * $most OR hash(e.experiment_id) < 18446744073709551615.0 * 2 * $most / s.n),
placed AS (
    SELECT run_id, experiment_id, decision = 'keep' AS kept, lot,
        row_number() OVER (PARTITION BY decision, status ORDER BY lot, run_id) AS place
    FROM drawn),
chosen AS (
    SELECT run_id, experiment_id FROM placed
    ORDER BY CASE WHEN kept AND place <= $most / 2 THEN 0 ELSE place END, lot, run_id LIMIT $most)
SELECT e.experiment_id, e.run_id, line, e.number, coalesce(p.name, i.name, e.program_id) AS program, e.decision, e.status, e.metric,
    e.gain, e.device_seconds_charged AS seconds, left(e.description, 160) AS description, left(e.reason, 160) AS reason,
    e.directive_ids, coalesce(e.fraction, 1.0) AS fraction, e.cached, e.trust, left(e.diff, 4000) AS diff
FROM chosen JOIN experiments AS e USING (run_id, experiment_id)
    LEFT JOIN programs AS p ON p.program_id = e.program_id LEFT JOIN imports AS i ON i.run_id = e.run_id
    LEFT JOIN import_rows AS l ON l.run_id = e.run_id AND l.experiment_id = e.experiment_id
ORDER BY e.program_id IS DISTINCT FROM $first, program, e.run_id, e.number
