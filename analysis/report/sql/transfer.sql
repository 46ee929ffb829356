-- What each program gained on each task of a study with several, beside stock there.
SELECT t.name AS program, t.role, t.gain, t.low, t.high, t.unit, t.ratio, t.p, t.p_adjusted, t.n AS runs,
    t.task || ' (' || t.place || ')' AS task, coalesce(t.p_adjusted < 0.05, false) AS significant
FROM transfer AS t WHERE (SELECT count(DISTINCT task) FROM transfer) > 1
ORDER BY t.place DESC, t.task, t.gain DESC
