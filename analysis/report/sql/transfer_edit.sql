-- Mean gain of single changes, per task; the figures above count a cached measurement once and cap losses.
SELECT task, knob, value, avg(delta) AS estimate, count(*) AS tries, count(DISTINCT run_id) AS runs
FROM edits WHERE single AND delta IS NOT NULL GROUP BY ALL ORDER BY knob, value, task
