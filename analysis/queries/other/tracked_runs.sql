-- Runs as trackers get them, with their experiments as steps of a curve. A step is sent once it has its decision; best
-- values are those so far of the baseline and the kept scripts at full training. What is NULL is left out.
WITH full_or_short AS (
    SELECT e.*, r.direction, r.state NOT IN ('running', 'interrupted') OR decision IS NOT NULL AS is_final,
        CASE WHEN fraction < 1 THEN NULL WHEN isfinite(metric) THEN metric END AS whole_metric,
        CASE WHEN fraction < 1 THEN NULL WHEN isfinite(e.gain) THEN e.gain END AS whole_gain,
        decision IN ('keep', 'baseline') AS chosen
    FROM experiments AS e JOIN runs AS r USING (run_id)),
curves AS (
    SELECT *, max(whole_gain) FILTER (chosen) OVER so_far AS best_gain,
        CASE WHEN direction = 'higher' THEN max(whole_metric) FILTER (chosen) OVER so_far
            ELSE min(whole_metric) FILTER (chosen) OVER so_far END AS best_metric,
        sum(coalesce(device_seconds_charged, 0.0)) OVER so_far AS device_seconds
    FROM full_or_short WINDOW so_far AS (PARTITION BY run_id ORDER BY number)),
stepped AS (
    SELECT run_id,
        list({'number': number, 'at': epoch(started_at + to_seconds(coalesce(wall_seconds, 0.0))),
            'words': {'status': status, 'decision': coalesce(decision, ''), 'description': coalesce(description, '')},
            'values': {'metric': whole_metric, 'gain': whole_gain,
                'metric_screening': CASE WHEN fraction < 1 AND isfinite(metric) THEN metric END,
                'gain_screening': CASE WHEN fraction < 1 AND isfinite(gain) THEN gain END,
                'best_metric': best_metric, 'best_gain': best_gain, 'device_seconds': device_seconds,
                'kept': (decision IS NOT DISTINCT FROM 'keep')::DOUBLE}} ORDER BY number) FILTER (is_final) AS steps,
        arg_min({'number': number, 'description': description},
            CASE WHEN direction = 'higher' THEN -whole_metric ELSE whole_metric END) FILTER (chosen) AS best
    FROM (FROM curves ORDER BY run_id, number) GROUP BY run_id),
study AS (
    SELECT any_value(study_id) AS study_id, any_value(version) AS version,
        any_value(config ->> 'sandbox') AS sandbox FROM studies)
SELECT r.run_id, coalesce(steps, []) AS steps, coalesce(r.name, r.program_id) AS program,
    {'study': study.study_id, 'metaloop': study.version, 'name': r.name, 'role': r.role, 'purpose': r.purpose,
        'generation': r.generation, 'task': r.task, 'program_id': r.program_id, 'match_id': r.match_id,
        'arm_id': r.arm_id, 'stream': r.stream, 'run_seed': r.run_seed, 'researcher': r.researcher,
        'direction': r.direction, 'device_seconds_budget': r.device_seconds_budget, 'sandbox': study.sandbox,
        'started_at': r.started_at} AS settings,
    {'state': r.state, 'reason': nullif(r.reason, ''), 'trust': coalesce(r.trust, 'none'),
        'score_stream': r.score_stream, 'ended_at': r.ended_at, 'best_description': best.description} AS facts,
    {'verified_gain': r.verified_gain, 'claimed_gain': r.claimed_gain, 'claimed_best': r.claimed_best,
        'device_seconds_charged': r.device_seconds_charged, 'sandbox_device_seconds': r.sandbox,
        'experiments': r.experiments, 'kept': r.kept, 'verified_seeds': r.verified_seeds,
        'failed_seeds': r.failed_seeds, 'tokens': CASE WHEN r.calls > 0 THEN r.tokens END,
        'usd': CASE WHEN r.calls > 0 THEN r.usd END, 'wall_seconds': r.wall_seconds,
        'best_step': best.number} AS figures
FROM runs AS r LEFT JOIN stepped USING (run_id), study
ORDER BY r.started_at, r.run_id
