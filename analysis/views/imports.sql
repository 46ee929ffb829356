-- One row per run that was imported from a log, and per log that was refused. quarantined is the file's: a file with
-- several runs has it in its first row alone. sign: a gain is sign * (baseline - metric).
WITH recorded AS (
    SELECT place, written_at, unnest(from_json(record, '{
        "import_id": "VARCHAR", "run_id": "VARCHAR", "name": "VARCHAR", "path": "VARCHAR", "state": "VARCHAR",
        "reason": "VARCHAR", "metric": "VARCHAR", "metric_from": "VARCHAR", "direction": "VARCHAR",
        "direction_from": "VARCHAR", "quarantined": "BIGINT", "noise_sd": "DOUBLE", "noise_df": "BIGINT",
        "noise_sources": "BIGINT", "n_rows": "BIGINT", "rows_sd": "DOUBLE", "chance_gain": "DOUBLE",
        "notes": "JSON", "program_id": "VARCHAR", "program_problem": "VARCHAR", "repository": "VARCHAR", "repository_note": "VARCHAR",
        "commits_joined": "BIGINT", "digest": "VARCHAR"}'))
    FROM events WHERE kind = 'import'),
tries AS (
    SELECT run_id, e.number, line, e.metric, status, decision, step_gain, step_p, again, best_so_far,
        CASE recorded.direction WHEN 'higher' THEN -1.0 ELSE 1.0 END AS sign,
        decision IS DISTINCT FROM 'baseline' AND again IS NULL AND coalesce(status, decision) IS NOT NULL AS is_try,
        avg(e.metric) FILTER (again IS NOT NULL) OVER script AS mean_again, avg(e.metric) OVER script AS mean
    FROM experiments AS e JOIN import_rows USING (run_id, experiment_id) JOIN recorded USING (run_id)
    WINDOW script AS (PARTITION BY run_id, coalesce(again, line))),
counted AS (
    SELECT run_id, count(*) AS "rows", count(*) FILTER (is_try) AS tried, count(*) FILTER (decision = 'keep') AS kept,
        count(*) FILTER (step_gain IS NOT NULL AND decision IS NULL) AS new_bests,
        count(*) FILTER (decision = 'discard' AND status = 'ok') AS discarded,
        count(*) FILTER (is_try AND status <> 'ok') AS failed, count(*) FILTER (decision IS NULL) AS undecided,
        bool_or(decision = 'keep') AS decided, any_value(metric) FILTER (decision = 'baseline') AS baseline,
        any_value(mean) FILTER (decision = 'baseline') AS mean_baseline,
        max_by(best_so_far, number) AS best_kept, min_by(metric, sign * metric) AS best_measured,
        min_by(line, sign * metric) FILTER (metric = best_so_far AND again IS NULL) AS best_line, count(again) AS reruns,
        count(*) FILTER ((decision = 'keep' OR step_gain IS NOT NULL) AND coalesce(step_p, 1.0) > 0.05) AS noise_steps, any_value(sign) AS sign,
        min_by(coalesce(mean_again, metric), sign * metric) FILTER (metric = best_so_far AND step_gain IS NOT NULL) AS best_again,
        list_sum([1.0 / i FOR i IN range(2, 2 + count(*) FILTER (is_try AND metric IS NOT NULL))])
            AS chance_keeps
    FROM tries GROUP BY run_id)
SELECT import_id, run_id, name, path, state, reason, metric, metric_from, direction, direction_from,
    coalesce("rows", 0) AS "rows", coalesce(quarantined, 0) AS quarantined, tried, kept, coalesce(new_bests, 0) AS new_bests,
    discarded, failed, undecided, decided, baseline, best_kept, best_measured, best_line,
    sign * (baseline - best_kept) AS claimed_gain,
    CASE WHEN reruns > 0 THEN sign * (mean_baseline - best_again) END AS rerun_gain,
    reruns, noise_sd, noise_df, noise_sources, n_rows, rows_sd,
    CASE WHEN coalesce(noise_sd, rows_sd) IS NOT NULL THEN noise_steps END AS noise_steps,
    CASE WHEN chance_gain >= 0.0 AND sign * (baseline - best_kept) > 0.0
        THEN least(1.0, chance_gain / (sign * (baseline - best_kept))) END AS noise_share,
    coalesce(chance_keeps, 0.0) AS chance_keeps, chance_gain, notes, program_id, program_problem, repository, repository_note,
    commits_joined, digest, written_at AS imported_at
FROM recorded LEFT JOIN counted USING (run_id)
ORDER BY place
