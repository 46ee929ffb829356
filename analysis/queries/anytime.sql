-- The best gains so far in a run and the device time spent until each: after its first two experiments, and after each
-- one that raised it. Where runs on a task select nothing (streams confirmation and reserve), only those: others chose
-- the programs.
-- gain: over the run's own baseline experiment, by the score that its researcher saw.
WITH played AS (
    SELECT r.run_id, r.task, r.program_id, coalesce(r.name, r.program_id) AS name, coalesce(r.role, 'program') AS role,
        m.run_budget, m.stream IN ('confirmation', 'reserve') AS final
    FROM runs AS r JOIN matches AS m USING (match_id)
    WHERE r.state = 'finished' AND r.task IS NOT NULL AND m.run_budget > 0
        AND NOT is_apart(m.purpose)
), compared AS (
    SELECT * FROM played QUALIFY final = bool_or(final) OVER (PARTITION BY task)
), steps AS (
    SELECT c.run_id, c.task, c.program_id, c.name, c.role, e.number,
        sum(e.device_seconds_charged) OVER ran / c.run_budget AS spent,
        coalesce(max(e.gain) FILTER (e.decision IN ('keep', 'baseline')) OVER ran, 0.0) AS best
    FROM compared AS c JOIN experiments AS e USING (run_id)
    WINDOW ran AS (PARTITION BY e.run_id ORDER BY e.number ROWS UNBOUNDED PRECEDING)
), raised AS (
    SELECT * FROM steps
    WINDOW own AS (PARTITION BY run_id ORDER BY number)
    QUALIFY row_number() OVER own <= 2 OR best IS DISTINCT FROM lag(best) OVER own
)
SELECT run_id, task, program_id, name, role, list(spent ORDER BY number) AS spent, list(best ORDER BY number) AS best
FROM raised GROUP BY ALL
ORDER BY task, run_id
