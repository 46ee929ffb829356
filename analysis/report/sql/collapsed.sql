-- Runs whose final script, trained again, lost over five SD of the noise (one unchanged script under several training
-- seeds, on the same data) and over half of the claimed gain, which was over five SD, too: a smaller claim may
-- be noise, and a run that ended at the untouched script claims none.
WITH noise AS (
    SELECT match_id, task, stream, stddev_samp(metric) AS sd FROM baselines WHERE status = 'ok'
    GROUP BY ALL HAVING count(*) > 2)
SELECT r.run_id, coalesce(p.name, r.program_id) AS name, r.claimed_gain AS claimed, r.verified_gain AS gain,
    (r.claimed_gain - r.verified_gain) / n.sd AS sds
FROM runs AS r JOIN matches AS m USING (match_id) LEFT JOIN programs AS p ON p.program_id = r.program_id
    JOIN noise AS n ON n.task = r.task AND n.stream = coalesce(r.score_stream, m.stream)
WHERE r.state = 'finished' AND n.sd > 0 AND r.claimed_gain > 5 * n.sd AND r.claimed_gain - r.verified_gain > 5 * n.sd
    AND r.verified_gain < r.claimed_gain / 2
QUALIFY row_number() OVER (PARTITION BY r.run_id ORDER BY n.match_id = r.match_id DESC, n.match_id) = 1
ORDER BY sds DESC, r.run_id
