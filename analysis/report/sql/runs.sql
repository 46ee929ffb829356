-- The runs to draw: those of the deciding match first, then the best others with the same metric, up to $points
-- experiments in total. An imported run has the name of its log, and its noise if known.
WITH ordered AS (
    SELECT r.*, row_number() OVER (ORDER BY r.match_id IS DISTINCT FROM $match, r.verified_gain DESC NULLS LAST,
        r.claimed_gain DESC NULLS LAST, r.run_id) AS place
    FROM runs AS r LEFT JOIN matches AS m USING (match_id)
    WHERE r.experiments > 1 AND ($match IS NULL OR (m.metric, m.direction) IS NOT DISTINCT FROM
        (SELECT (metric, direction) FROM matches WHERE match_id = $match))),
counted AS (SELECT *, sum(experiments) OVER (ORDER BY place) AS so_far FROM ordered)
SELECT c.run_id, c.match_id, c.task, c.match_id IS NOT DISTINCT FROM $match AS deciding, c.program_id,
    coalesce(c.name, i.name) AS name, c.role, c.state, c.stream, c.experiments, c.kept, c.claimed_best, c.claimed_gain,
    c.verified_gain, c.score_stream, c.trust, c.device_seconds_charged, c.direction, c.run_seed, i.noise_sd
FROM counted AS c LEFT JOIN imports AS i ON i.run_id = c.run_id
WHERE place = 1 OR (so_far <= $points AND place <= $most)
ORDER BY place
