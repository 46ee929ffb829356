-- The study: its config as it ran (without its secret), the version that wrote it, its first and last record.
SELECT s.study_id, s.version, s.config, s.started_at,
    (SELECT max(written_at) FROM events) AS last_record_at, (SELECT count(*) FROM events) AS records
FROM studies AS s
ORDER BY s.started_at DESC LIMIT 1
