-- One row per run that was imported from a log, and per log that gave none (refused, duplicate, empty, unsure).
-- lines, headers, blanks and quarantined are the file's: a file with several metrics has them in its first row alone.
WITH recorded AS (
    SELECT place, written_at, record, unnest(from_json(record, '{
        "import_id": "VARCHAR", "run_id": "VARCHAR", "name": "VARCHAR", "path": "VARCHAR", "state": "VARCHAR",
        "reason": "VARCHAR", "duplicate_of": "VARCHAR", "metric": "VARCHAR", "metric_from": "VARCHAR",
        "direction": "VARCHAR", "direction_from": "VARCHAR", "bytes": "BIGINT", "lines": "BIGINT", "rows": "BIGINT",
        "merged_rows": "BIGINT", "row_lines": "BIGINT", "headers": "BIGINT", "blanks": "BIGINT",
        "quarantined": "BIGINT", "tried": "BIGINT", "kept": "BIGINT", "new_bests": "BIGINT", "discarded": "BIGINT", "failed": "BIGINT",
        "undecided": "BIGINT", "decided": "BOOLEAN", "baseline": "DOUBLE", "baseline_from": "VARCHAR",
        "best_kept": "DOUBLE", "best_measured": "DOUBLE", "best_line": "BIGINT", "claimed_gain": "DOUBLE",
        "rerun_gain": "DOUBLE", "reruns": "BIGINT", "noise_sd": "DOUBLE", "noise_df": "BIGINT",
        "noise_from": "VARCHAR", "noise_steps": "BIGINT", "noise_share": "DOUBLE", "chance_keeps": "DOUBLE",
        "chance_gain": "DOUBLE", "parts": "JSON", "categories": "JSON", "contradictions": "JSON",
        "program_id": "VARCHAR", "program_problem": "VARCHAR", "repository": "VARCHAR", "repository_note": "VARCHAR",
        "commits_joined": "BIGINT", "digest": "VARCHAR"}'))
    FROM events WHERE kind = 'import')
SELECT import_id, run_id, name, path, state, reason, duplicate_of, metric, metric_from, direction, direction_from,
    bytes, lines, coalesce("rows", 0) AS "rows", coalesce(merged_rows, 0) AS merged_rows, row_lines, headers, blanks,
    coalesce(quarantined, 0) AS quarantined, tried, kept,
    coalesce(new_bests, 0) AS new_bests, discarded, failed, undecided, decided, baseline,
    baseline_from, best_kept, best_measured, best_line, claimed_gain, rerun_gain, reruns, noise_sd, noise_df,
    noise_from, noise_steps, noise_share, chance_keeps, chance_gain, parts, categories, contradictions, program_id,
    program_problem, repository, repository_note, commits_joined, digest, written_at AS imported_at
FROM recorded
ORDER BY place
