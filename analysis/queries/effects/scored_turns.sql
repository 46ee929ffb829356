-- The turns of the nights on a task with what each scores, log(1 + gain / SD between seeds), and what it did: its first
-- experiment beside the script that this changed. The SD is by the median difference of two trainings of one source, so
-- that wild sources do not decide it; without one, a turn scores whether it kept something.
WITH played AS (
    SELECT t.*, r.match_id FROM night_turns AS t JOIN run_starts AS r USING (run_id)
    WHERE r.task = $task AND NOT coalesce(list_contains($exclude, r.match_id), false)),
twice AS (
    SELECT min(metric) AS low, max(metric) AS high FROM experiments
    WHERE run_id IN (SELECT run_id FROM played) AND status = 'ok' AND fraction >= 1
    GROUP BY run_id, source_id HAVING count(DISTINCT coalesce(replicate, 0)) > 1),
noise AS (SELECT nullif(median(high - low) / 0.6745 / sqrt(2), 0) AS sd FROM twice),
tried AS (
    SELECT e.run_id, e.number, e.status <> 'ok' AS failed, greatest(e.gain - p.gain, 0) AS gain,
        len(regexp_extract_all(e.diff, '(?m)^\+(?:[^+]|$)')) AS added,
        len(regexp_extract_all(e.diff, '(?m)^-(?:[^-]|$)')) AS removed,
        row_number() OVER (PARTITION BY e.run_id, e.diff ORDER BY e.number) > 1 AS repeated
    FROM experiments AS e JOIN experiments AS p ON p.run_id = e.run_id AND p.number = e.parent_number
    WHERE e.run_id IN (SELECT run_id FROM played) AND coalesce(e.replicate, 0) = 0),
-- The turns of a program that led to an experiment are, in their order, those of its model that are not in `turns`.
written AS (
    SELECT run_id, program_id, sum(tokens_out) AS tokens,
        row_number() OVER (PARTITION BY run_id, program_id ORDER BY turn) AS place
    FROM calls WHERE run_id IN (SELECT run_id FROM played) AND turn IS NOT NULL
        AND (run_id, turn) NOT IN (SELECT (run_id, number) FROM turns)
    GROUP BY run_id, program_id, turn),
placed AS (
    SELECT *, row_number() OVER (PARTITION BY run_id, program_id, experiments > 0 ORDER BY number) AS place FROM played)
SELECT t.match_id, t.run_id, t.number, t.block, t.program_id, t.kept IS NOT NULL AS kept,
    coalesce(e.failed, true) AS failed, coalesce(ln(1 + greatest(t.gain, 0) / sd), (t.kept IS NOT NULL)::DOUBLE) AS score,
    [coalesce(e.failed, true)::DOUBLE, coalesce(e.repeated, false)::DOUBLE, coalesce(e.removed > e.added, false)::DOUBLE,
        ln(1 + coalesce(greatest(e.added, e.removed), 0)), ln(1 + coalesce(w.tokens, 0)), coalesce(ln(1 + e.gain / sd), (e.gain > 0)::DOUBLE, 0)] AS behaviour
FROM placed AS t CROSS JOIN noise LEFT JOIN tried AS e ON t.experiments > 0 AND e.run_id = t.run_id AND e.number = t.first_experiment
    LEFT JOIN written AS w ON t.experiments > 0 AND w.run_id = t.run_id AND w.program_id = t.program_id AND w.place = t.place
ORDER BY t.run_id, t.number
