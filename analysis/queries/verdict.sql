-- What a study holds, for its verdict.
WITH ended AS (SELECT match_id FROM matches WHERE match_id IN (SELECT match_id FROM standings WHERE gain IS NOT NULL)
    ORDER BY purpose IN ('ablation', 'reserve'), started_at DESC LIMIT 1),
study AS (SELECT config ->> 'command' AS command FROM studies ORDER BY started_at DESC LIMIT 1)
SELECT (SELECT details FROM champions ORDER BY named_at DESC LIMIT 1) AS champion,
    (SELECT match_id FROM ended) AS match_id,
    (SELECT purpose FROM ended JOIN matches USING (match_id)) AS purpose,
    (SELECT unit FROM ended JOIN matches USING (match_id)) AS unit,
    (SELECT command IN ('evolve', 'improve') FROM study) AS searches,
    (SELECT command = 'match' FROM study) AND (SELECT count(DISTINCT task) < 2 FROM matches) AS compares,
    (SELECT count(*) FROM runs) AS runs, (SELECT count(*) FROM runs WHERE state = 'imported') AS imported,
    (SELECT count(DISTINCT run_id) FROM replays) AS replayed,
    (SELECT count(*) FROM experiments) AS experiments,
    (SELECT list(DISTINCT trust) FROM runs WHERE match_id = (SELECT match_id FROM ended)) AS trust
