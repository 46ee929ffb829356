-- Runs whose final script, trained again, lost over five SD of the noise (the untouched script under several training
-- seeds, on the same data) and over half of the claimed gain, which was over five SD, too: a smaller claim may
-- be noise, and a run that ended at the untouched script claims none.
SELECT r.run_id, coalesce(r.name, r.program_id) AS name, r.claimed_gain AS claimed, r.verified_gain AS gain,
    (r.claimed_gain - r.verified_gain) / n.sd AS sds, n.sd
FROM runs AS r JOIN seed_noise() AS n USING (task)
WHERE r.state = 'finished' AND n.trainings > 2 AND n.sd > 0 AND r.claimed_gain > 5 * n.sd AND r.claimed_gain - r.verified_gain > 5 * n.sd
    AND r.verified_gain < r.claimed_gain / 2
ORDER BY sds DESC, r.run_id
