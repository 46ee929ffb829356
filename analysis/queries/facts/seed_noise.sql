-- SD of one training of a task's untouched source, between training seeds: pooled over the streams of the study, each of
-- which has its own data, so it contains no noise of the rows; and the number of trainings. One stream alone has too few
-- for an SD. The main of a shared project changes with each match, and has no source id.
seed_noise() AS TABLE
WITH seeds AS (
    SELECT task, stream, coalesce(nullif(source_id, ''), match_id) AS source, seed, avg(metric ORDER BY metric) AS metric
    FROM baselines WHERE status = 'ok' GROUP BY ALL),
streams AS (
    SELECT task, stream, source, count(*) AS n, var_samp(metric ORDER BY seed) AS variance FROM seeds
    GROUP BY ALL HAVING count(*) > 1)
SELECT task, sqrt(sum((n - 1) * variance ORDER BY stream, source) / sum(n - 1)) AS sd, sum(n)::BIGINT AS trainings
FROM streams GROUP BY task
