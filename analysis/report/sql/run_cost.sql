-- What one run of this match takes with its verification, in device-seconds as charged and as the arena paid.
SELECT count(*) AS n, avg(device_seconds_charged ORDER BY run_id)
    + (SELECT sum(v.device_seconds_spent ORDER BY v.run_id, v.seed) FROM verifications AS v JOIN runs AS r USING (run_id)
        WHERE r.match_id = $match AND r.state = 'finished') / count(*) AS seconds
FROM runs WHERE match_id = $match AND state = 'finished'
