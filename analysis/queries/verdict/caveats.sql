-- What weakens a result: one row for each caveat that applies, by its code; analysis/verdict/caveats.py has the texts.
-- $decision: that of a study whose champion is not recorded yet.
WITH decided AS (SELECT d FROM (SELECT coalesce($decision::JSON, (SELECT details -> 'decision' FROM champions
    ORDER BY named_at DESC LIMIT 1)) AS d) WHERE d IS NOT NULL),
deciding AS (SELECT unnest(from_json(d -> 'match_ids', '["VARCHAR"]')) AS match_id FROM decided),
ended AS (SELECT match_id, purpose, started_at FROM matches WHERE match_id IN (
    SELECT match_id FROM standings WHERE gain IS NOT NULL)),
board AS (SELECT * FROM standings WHERE gain IS NOT NULL AND match_id IN (
    FROM deciding
    UNION ALL
    (SELECT match_id FROM ended WHERE (SELECT count(*) FROM decided) = 0
    ORDER BY purpose = 'ablation', started_at DESC LIMIT 1))),
settings AS (SELECT config ->> 'kind' AS kind, config -> 'plan' -> 'race' ->> 'batch' AS batch, config -> 'plan' ->> '$.added[*].study' AS added,
    config -> 'plan' ->> '$.added[*].arms[*].program_id' AS pair FROM studies
    ORDER BY started_at DESC LIMIT 1),
untouched AS (  -- trainings of the untouched script
    SELECT task, steps, device_seconds_spent AS cpu, wall_seconds AS wall FROM experiments
    WHERE decision = 'baseline' AND status = 'ok' AND NOT cached
    UNION ALL SELECT record ->> 'task', NULL, (record ->> 'device_seconds_spent')::DOUBLE, (record ->> 'wall_seconds')::DOUBLE
    FROM events WHERE kind = 'baseline' AND record ->> 'status' = 'ok' AND record ->> 'further_seconds' IS NULL),
pace AS (  -- by task: 10% and 90% quantiles of their steps, of their CPU time, and of the wall time that each second of it took
    SELECT task, quantile_cont(steps, [0.1, 0.9]) AS steps, quantile_cont(cpu, [0.1, 0.9]) AS cpu,
        quantile_cont(wall, [0.1, 0.9]) AS wall, quantile_cont(wall / cpu, [0.1, 0.9]) AS waits
    FROM untouched WHERE cpu > 0 GROUP BY task HAVING count(*) >= 3),
loaded AS (  -- where load changes how much a training does: its steps, or the CPU time that it gets until its own clock ends it
    SELECT task, CASE WHEN steps[2] > 1.5 * steps[1] THEN format('made {:.0f} to {:.0f} steps in equal device time', steps[1], steps[2])
        WHEN cpu[2] / cpu[1] > 1.2 * wall[2] / wall[1] THEN format('got {:.2g} to {:.2g} s of CPU time until its own clock ended it', cpu[1], cpu[2])
        END AS detail FROM pace WHERE waits[2] > 1.2 * waits[1]),
collapsed AS (
    SELECT r.run_id FROM runs AS r JOIN seed_noise() AS n USING (task)
    WHERE r.state = 'finished' AND n.trainings > 2 AND n.sd > 0 AND r.claimed_gain > 5 * n.sd
        AND r.claimed_gain - r.verified_gain > 5 * n.sd AND r.verified_gain < r.claimed_gain / 2),
audited AS (SELECT verdict FROM audits WHERE subject = 'study' ORDER BY audited_at DESC LIMIT 1)
SELECT trust AS code, count(*) AS n, '' AS detail
FROM (SELECT trust, status FROM verifications UNION ALL SELECT trust, status FROM replays)
WHERE trust = 'unverified' OR trust = 'self-reported' AND status = 'ok' GROUP BY trust
UNION ALL SELECT 'contradicted', 1, '' FROM audited WHERE verdict = 'contradicted'
UNION ALL SELECT 'claims', count(*), '' FROM runs WHERE (SELECT count(*) FROM board) + (SELECT count(*) FROM replays) = 0
    HAVING count(*) > 0
UNION ALL SELECT 'undecided', count(*), '' FROM runs
    WHERE (SELECT count(*) FROM decided) = 0 AND (SELECT kind FROM settings) IN ('evolve', 'night')
    HAVING count(*) > 0
UNION ALL SELECT remark[1], count(*), string_agg(remark[2], '; ') FROM (
    SELECT unnest(from_json(script -> 'remarks', '[["VARCHAR"]]')) AS remark
    FROM (SELECT unnest(from_json(d -> 'scripts', '["JSON"]')) AS script FROM decided)) GROUP BY ALL
UNION ALL SELECT DISTINCT 'goes on', 1, '' FROM experiments
    WHERE decision = 'keep' AND description = 'main of the night before'
UNION ALL SELECT 'left open', count(*), format('{:.4g}', arg_max(one.metric, gain)) FROM experiments AS one JOIN matches USING (match_id)
    WHERE purpose = 'night' AND decision = 'undecided' AND gain > (
        SELECT max(gain) FROM experiments WHERE run_id = one.run_id AND decision IN ('baseline', 'keep')) HAVING count(*) > 0
UNION ALL SELECT 'simulated', 1, array_to_string(from_json(d -> 'simulated', '["VARCHAR"]'), ', ') FROM decided
    WHERE json_array_length(d -> 'simulated') > 0
UNION ALL SELECT d ->> 'fresh', 1, '' FROM decided WHERE d ->> 'fresh' IN ('seeds', 'nothing')
UNION ALL SELECT 'drift', 1, round(abs(drift), 1) || ' SD ' || if(drift > 0, 'longer', 'shorter') FROM harvest WHERE abs(drift) > 2
UNION ALL SELECT 'load', 1, min_by(detail, task) FROM loaded WHERE detail IS NOT NULL HAVING count(*) > 0
UNION ALL SELECT 'as ' || (d ->> 'same_as'), 1, d ->> 'own' FROM decided WHERE d ->> 'same_as' <> ''
UNION ALL SELECT 'added', len(added), array_to_string(added, ', ') FROM settings
    WHERE len(added) > 0 AND (SELECT count(DISTINCT program_id) FROM board WHERE list_contains((SELECT pair FROM settings), program_id)) = 2
UNION ALL SELECT 'race', 1, '' FROM settings WHERE batch IS NOT NULL AND (SELECT count(*) FROM decided) = 0
UNION ALL SELECT 'collapsed', count(*), '' FROM collapsed HAVING count(*) > 0
UNION ALL SELECT 'few runs', count(DISTINCT program_id), min(n)::VARCHAR FROM board
    WHERE n < 5 AND role <> 'a/a' AND purpose NOT IN ('ablation', 'night') HAVING count(*) > 0
UNION ALL SELECT 'trust differs', count(DISTINCT trust), '' FROM board HAVING count(DISTINCT trust) > 1
UNION ALL SELECT if(kind = 'gpu', 'gpu', 'findings') AS code, count(*), if(code = 'gpu', min(text), string_agg(DISTINCT kind, ', '))
    FROM findings GROUP BY code
UNION ALL SELECT 'failed seeds', sum(failed_seeds)::BIGINT, '' FROM runs HAVING sum(failed_seeds) > 0
UNION ALL SELECT 'unscored', count(*), '' FROM runs  -- a contest's screening is not scored
    WHERE verified_gain IS NULL AND state = 'finished'
    AND (SELECT purpose FROM matches AS m WHERE m.match_id = runs.match_id) IS DISTINCT FROM 'screening' AND (SELECT count(*) FROM board) > 0 HAVING count(*) > 0
UNION ALL SELECT 'running', count(*), '' FROM runs WHERE state = 'running' HAVING count(*) > 0
UNION ALL SELECT 'hardware', count(DISTINCT hardware_class), '' FROM matches HAVING count(DISTINCT hardware_class) > 1
UNION ALL SELECT 'failures', failed, format('{} of {}, with {:.0f}% of the device time', failed, n, 100 * share)
    FROM (SELECT count(*) AS n, count(*) FILTER (failed) AS failed,
        coalesce(sum(charged) FILTER (failed) / nullif(sum(charged), 0), 0) AS share
        FROM (SELECT device_seconds_charged AS charged, status IN ('crash', 'timeout', 'oom', 'invalid') AS failed
            FROM experiments)) WHERE greatest(failed / nullif(n, 0), share) > 0.2
UNION ALL SELECT 'writers', count(*), arg_max(reason, (generation, attempt)) FROM mutations WHERE model IS NOT NULL
    HAVING count(*) > 0 AND NOT bool_or(accepted)
