-- Of each match that can be compared with one of another study: the programs' verified gains. Programs of the
-- confirmation where there is one, else of the last match on each task.
WITH followed AS (  -- by which researcher, with which models; those of a study with scripts only write programs
    SELECT config ->> 'researcher' AS researcher, CASE WHEN researcher = 'scripted' THEN [] ELSE
        from_json(config -> 'llm' -> 'models', '["VARCHAR"]') END AS models FROM studies ORDER BY started_at DESC LIMIT 1),
deciding AS (
    SELECT match_id, task, task_id, unit, run_budget, hardware_class FROM matches
    WHERE match_id IN (SELECT match_id FROM runs WHERE verified_gain IS NOT NULL) AND purpose NOT IN ('ablation', 'reserve', 'screening')
    QUALIFY rank() OVER (PARTITION BY task ORDER BY purpose = 'confirmation' DESC, started_at DESC) = 1)
SELECT d.task, d.task_id, d.unit, d.run_budget, d.hardware_class, (SELECT researcher FROM followed) AS researcher,
    (SELECT models FROM followed) AS models, r.program_id, any_value(r.name) AS name,
    bool_or(r.role = 'champion') AS is_champion, list(r.verified_gain ORDER BY r.run_id) AS gains
FROM deciding AS d JOIN verified_runs() AS r USING (match_id)
WHERE r.role <> 'a/a' AND r.arm_id NOT IN (FROM void_arms())
GROUP BY d.task, d.task_id, d.unit, d.run_budget, d.hardware_class, r.program_id ORDER BY d.task, name
