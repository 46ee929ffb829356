-- What was tried, by what was changed: experiments, kept, failed, and the measured gain of the kept ones over the script
-- that they changed. An experiment that changes several settings counts as such.
WITH known AS (
    SELECT knob, task, status, decision, delta, device_seconds_charged AS seconds FROM edits WHERE single
    UNION ALL
    SELECT 'several at once', any_value(task), any_value(status), any_value(decision), any_value(delta),
        any_value(device_seconds_charged) FROM edits WHERE NOT single GROUP BY run_id, experiment_id)
SELECT task, knob AS change, count(*) AS tried, count(*) FILTER (decision = 'keep') AS kept,
    count(*) FILTER (status <> 'ok') AS failed,
    coalesce(sum(delta) FILTER (decision = 'keep' AND status = 'ok'), 0.0) AS kept_gains, sum(seconds) AS device_seconds
FROM known GROUP BY task, knob QUALIFY row_number() OVER (PARTITION BY task ORDER BY tried DESC, knob) <= 24
ORDER BY task, tried DESC, knob
