-- What a study holds, for its verdict.
WITH ended AS (SELECT match_id FROM matches WHERE match_id IN (SELECT match_id FROM standings WHERE gain IS NOT NULL)
    ORDER BY purpose IN ('ablation', 'reserve'), started_at DESC LIMIT 1),
study AS (SELECT config ->> 'kind' AS kind, config -> 'plan' -> 'added' AS added, coalesce(json_array_length(config -> 'plan' -> 'turns'), 0) > 0 AS by_turns FROM studies ORDER BY started_at DESC LIMIT 1),
steps AS (  -- of each imported log, those that are distinguishable from noise
    SELECT run_id, list('line ' || line || coalesce(' (' || left(nullif(description, ''), 50) || ')', '') ORDER BY line) FILTER (step_p <= 0.05) AS steps
    FROM import_rows JOIN experiments USING (run_id, experiment_id) GROUP BY run_id)
SELECT (SELECT details FROM champions ORDER BY named_at DESC LIMIT 1) AS champion,
    (SELECT match_id FROM ended) AS match_id,
    (SELECT purpose FROM ended JOIN matches USING (match_id)) AS purpose,
    (SELECT unit FROM ended JOIN matches USING (match_id)) AS unit,
    (SELECT kind IN ('evolve', 'night') FROM study) AS searches,
    (SELECT kind = 'match' FROM study) AND (SELECT count(DISTINCT task) < 2 FROM matches) AS compares,
    (SELECT kind = 'match' AND by_turns FROM study) AS is_league, (SELECT added FROM study) AS added, (SELECT count(*) FROM runs) AS runs,
    (SELECT count(DISTINCT path) FROM imports WHERE state = 'imported') AS imported,
    (SELECT count(DISTINCT path) FROM imports WHERE state = 'refused') AS refused,
    (SELECT list({'name': coalesce(name, path), 'led': kept + new_bests, 'decided': decided, 'shown': kept + new_bests - noise_steps, 'steps': steps, 'measured': best_measured IS NOT NULL}
        ORDER BY kept + new_bests - noise_steps DESC NULLS LAST, path, run_id) FROM imports LEFT JOIN steps USING (run_id) WHERE state = 'imported') AS logs,
    (SELECT count(DISTINCT run_id) FROM replays) AS replayed, (SELECT count(*) FROM replays) AS trainings,
    (SELECT count(*) FROM experiments) AS experiments,
    (SELECT list(DISTINCT trust) FROM (SELECT trust FROM runs WHERE match_id = (SELECT match_id FROM ended)
        UNION ALL SELECT trust FROM replays WHERE (SELECT count(*) FROM ended) = 0)) AS trust
