-- Matches in which one program plays in two arms (A/A): by how much the two came out apart.
SELECT t.match_id, t.task, t.name, t.gain AS twin_gain, s.gain, abs(t.gain - s.gain) AS spread, t.n, s.n AS n_other
FROM standings AS t JOIN standings AS s ON s.match_id = t.match_id AND s.program_id = t.program_id AND s.task = t.task
    AND s.role <> 'a/a'
WHERE t.role = 'a/a' AND t.gain IS NOT NULL AND s.gain IS NOT NULL
ORDER BY spread DESC, t.match_id
