-- What each program gained on each task of a study with several, beside stock there.
SELECT t.name AS program, t.role, t.gain, t.low, t.high, t.unit, t.ratio, t.n AS runs,
    t.task || ' (' || t.place || ')' AS task
FROM transfer AS t WHERE (SELECT count(DISTINCT task) FROM transfer) > 1
ORDER BY t.place DESC, t.task, t.gain DESC
