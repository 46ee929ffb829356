-- Where each of these runs really ended: its final script trained and scored again, with fresh seeds where it takes one.
SELECT v.run_id, avg(v.metric ORDER BY v.seed) AS metric, count(v.metric) AS n
FROM verifications AS v JOIN runs AS r ON r.run_id = v.run_id AND r.score_stream = v.stream
WHERE list_contains($runs, v.run_id)
GROUP BY v.run_id
ORDER BY v.run_id
